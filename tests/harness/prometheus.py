"""Prometheus as it is deployed, over a server of a test."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.harness.http import fetch
from tests.harness.ports import free_port
from tests.harness.program import Program

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"


class Prometheus(Program):
    """`deploy/prometheus`, with a scrape of `target` (an address) and of all rules each second."""

    name = "prometheus"

    def __init__(self, folder: Path, target: str) -> None:
        super().__init__(folder)
        self._target = target
        self._port = free_port()

    def query(self, expr: str) -> list[Any]:
        """Return the series that an expression yields now. Raises RuntimeError if it is wrong."""
        found: list[Any] = self._get(f"query?query={quote(expr)}")["result"]
        return found

    def rules(self) -> dict[str, Any]:
        """Return what Prometheus says of each alert, by name."""
        groups = self._get("rules")["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def _get(self, path: str) -> Any:
        answer = fetch(f"http://127.0.0.1:{self._port}/api/v1/{path}").json
        if answer["status"] != "success":
            raise RuntimeError(f"{path}: {answer['error']}")
        return answer["data"]

    def _configuration(self) -> str:
        text = (DEPLOYED / "prometheus.yml").read_text()
        for old, new in (
            ("scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s"),
            ("127.0.0.1:9091", self._target),
        ):
            # A comment names the target, too.
            assert old in text
            text = text.replace(old, new)
        return text

    def _is_ready(self) -> bool:
        try:
            return fetch(f"http://127.0.0.1:{self._port}/-/ready").status == 200
        except OSError:
            return False

    def _arguments(self) -> Sequence[str]:
        shutil.copy(DEPLOYED / "alerts.yml", self._folder)
        (self._folder / "prometheus.yml").write_text(self._configuration())
        return (
            f"--config.file={self._folder}/prometheus.yml",
            f"--storage.tsdb.path={self._folder}/data",
            f"--web.listen-address=127.0.0.1:{self._port}",
        )
