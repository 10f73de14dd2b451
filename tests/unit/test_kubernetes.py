"""The manifests in deploy/kubernetes are valid, and fit the image and the server."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sharechat.config import options

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
FILES = [path for path in sorted(FOLDER.rglob("*.yaml")) if path.name != "kustomization.yaml"]
VERSIONS = ("1.30", kubernetes_validate.latest_version())

Manifest = dict[str, Any]


def manifests(text: str) -> Iterator[Manifest]:
    yield from filter(None, yaml.safe_load_all(text))


def the(kind: str) -> Manifest:
    """Return the only manifest of this kind in the base."""
    (found,) = [
        manifest
        for path in (FOLDER / "base").glob("*.yaml")
        for manifest in manifests(path.read_text())
        if manifest["kind"] == kind
    ]
    return found


POD: Manifest = the("Deployment")["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_manifest_is_valid(path: Path, version: str) -> None:
    for manifest in manifests(path.read_text()):
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("folder", ["base", "example"])
def test_a_kustomization_names_every_file_beside_it(folder: str) -> None:
    (kustomization,) = manifests((FOLDER / folder / "kustomization.yaml").read_text())
    beside = {path.name for path in (FOLDER / folder).glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) - {"../base"} == beside


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
def test_the_example_builds_to_valid_manifests() -> None:
    command = ["kubectl", "kustomize", str(FOLDER / "example")]
    built = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = {manifest["kind"]: manifest for manifest in manifests(built)}
    for manifest in found.values():
        kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/sharechat:0.1.0"
    # The names that were generated of the contents, so that a change rolls the pods.
    assert [next(iter(source.values()))["name"] for source in container["envFrom"]] == [
        found["Secret"]["metadata"]["name"],
        found["ConfigMap"]["metadata"]["name"],
    ]


def test_everything_selects_the_pods() -> None:
    labels = POD["metadata"]["labels"]
    assert the("Deployment")["spec"]["selector"]["matchLabels"] == labels
    assert the("Service")["spec"]["selector"] == labels
    assert the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    assert the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "sharechat"


def test_the_pod_is_the_image_without_rights() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert f"USER {POD['spec']['securityContext']['runAsUser']}\n" in dockerfile
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    (port,) = CONTAINER["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in dockerfile


def test_the_probes_are_the_server_s() -> None:
    paths = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("liveness", "readiness")}
    assert paths["liveness"] == {"path": "/livez", "port": "http"}
    assert paths["readiness"] == {"path": "/readyz", "port": "http"}


def test_stopping_has_the_time_that_it_takes() -> None:
    (seconds,) = [int(word) for word in CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1:]]
    assert POD["spec"]["terminationGracePeriodSeconds"] >= seconds + 15


def test_every_variable_is_one_of_the_server_s() -> None:
    known = {str(option.envvar) for option in options()}
    named = {name for path in FOLDER.rglob("*.yaml") for name in variables(path.read_text())}
    assert named >= {"DATABASE_URL", "REDIS_URL"}
    assert named <= known


def variables(text: str) -> set[str]:
    return set(re.findall(r"\b(?:SHARECHAT_\w+|\w+_URL)\b", text))
