"""Prometheus as it is deployed, over a server of a test."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from tests.harness.deadline import wait_until
from tests.harness.http import fetch
from tests.harness.missing import missing
from tests.harness.ports import free_port

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"


class Prometheus:
    """`deploy/prometheus`, with a scrape of `target` (an address) and of all rules each second.

    As a context manager it runs. Skips the test if Prometheus is not installed.
    """

    def __init__(self, folder: Path, target: str) -> None:
        self._folder = folder
        self._target = target
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

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

    def __enter__(self) -> Self:
        command = shutil.which("prometheus")
        if command is None:
            missing("prometheus")
        shutil.copy(DEPLOYED / "alerts.yml", self._folder)
        (self._folder / "prometheus.yml").write_text(self._configuration())
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = process = subprocess.Popen(
                [
                    command,
                    f"--config.file={self._folder}/prometheus.yml",
                    f"--storage.tsdb.path={self._folder}/data",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=output,
                stderr=output,
            )
        try:
            wait_until(lambda: self._is_ready() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
        except BaseException:
            self._stop()
            raise
        return self

    def _stop(self) -> None:
        assert self._process is not None
        self._process.kill()  # Its data is of no use to anybody.
        self._process.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
