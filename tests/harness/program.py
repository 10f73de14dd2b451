"""A server that pip cannot install, such as nginx, as a child process of a test."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from tests.harness.deadline import wait_until
from tests.harness.missing import missing


class Program:
    """Runs while it is used as a context manager, in a folder of its own.

    Skips the test if the program is not installed; fails it if the program ends at its start.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def _arguments(self) -> Sequence[str]:
        """Write its configuration into the folder, and return what to start it with."""
        raise NotImplementedError

    def _is_ready(self) -> bool:
        """Return whether it answers."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        command = shutil.which(self.name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if command is None:
            missing(self.name)
        log = self._folder / "log"
        with log.open("wb") as output:
            self._process = process = subprocess.Popen(
                [command, *self._arguments()], stdout=output, stderr=output
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
        self._process.terminate()
        self._process.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
