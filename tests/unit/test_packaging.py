"""Packaging: the Pythons that were tried, the ranges of the dependencies, and the locks."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {
    extra: [Requirement(line) for line in lines]
    for extra, lines in PROJECT["optional-dependencies"].items()
}

TRIED = ("3.11", "3.12", "3.13", "3.14")
"""The Pythons that the whole suite has passed on, installed from the lock."""


def locked(lock: str, python: str) -> dict[str, str]:
    """Return the exact version that a lock has of each package, for a Python."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text().replace("\\\n", " ")
    lines = [line.partition(" --hash=")[0] for line in text.splitlines()]
    pins = [Requirement(line) for line in lines if not line.lstrip().startswith("#")]
    # Only the minor version counts; some markers compare the micro version with 3.11.3.
    environment = {"python_version": python, "python_full_version": f"{python}.9"}
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(environment)
    }


def test_the_project_names_the_pythons_that_were_tried() -> None:
    prefix = "Programming Language :: Python :: "
    assert PROJECT["classifiers"] == [prefix + python for python in TRIED]
    required = SpecifierSet(PROJECT["requires-python"])
    assert tuple(f"3.{minor}" for minor in range(40) if f"3.{minor}.1" in required) == TRIED


def test_all_of_them_are_tested_by_one_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert f"for version in {' '.join(TRIED)};" in makefile


def test_this_python_is_one_of_them() -> None:
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in TRIED


def test_so_is_that_of_the_docker_image() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    pythons = re.findall(r"^FROM python:(\d\.\d+)-", dockerfile, re.MULTILINE)
    assert pythons
    assert set(pythons) <= set(TRIED)


@pytest.mark.parametrize("python", TRIED)
@pytest.mark.parametrize("lock", ["runtime", "test", "bench"])
def test_a_lock_is_within_the_ranges(lock: str, python: str) -> None:
    pins = locked(lock, python)
    for wanted in DEPENDENCIES + EXTRAS.get(lock, []):
        assert pins[canonicalize_name(wanted.name)] in wanted.specifier, "run make lock"


@pytest.mark.parametrize("python", TRIED)
def test_the_locks_agree(python: str) -> None:
    runtime, test, bench = (locked(lock, python) for lock in ("runtime", "test", "bench"))
    assert runtime.items() <= test.items()
    assert runtime.items() <= bench.items()
    assert all(test.get(name, pin) == pin for name, pin in bench.items())


def test_what_is_tested_is_what_is_locked() -> None:
    pins = locked("test", f"{sys.version_info.major}.{sys.version_info.minor}")
    assert {name: version(name) for name in pins} == pins


def test_every_dependency_has_an_upper_bound() -> None:
    for dependency in DEPENDENCIES:
        assert any(bound.operator == "<" for bound in dependency.specifier), dependency


OURS = {"sharechat": {"sharechat"}, "tests": {"sharechat", "tests", "benchmarks"}}
"""What each folder may import of ours."""


@pytest.mark.parametrize(
    ("folder", "declared"),
    [("sharechat", DEPENDENCIES), ("tests", DEPENDENCIES + EXTRAS["test"])],
)
def test_what_is_imported_is_declared(folder: str, declared: list[Requirement]) -> None:
    names = {canonicalize_name(requirement.name) for requirement in declared}
    distributions = packages_distributions()
    for path in (ROOT / folder).rglob("*.py"):
        for module in imported(path) - sys.stdlib_module_names - OURS[folder]:
            providers = {canonicalize_name(name) for name in distributions[module]}
            assert providers & names, f"{path} imports {module}"


def imported(path: Path) -> set[str]:
    """Return the top-level modules that a source file imports."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    return modules
