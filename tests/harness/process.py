"""A server as a child process: the installed `sharechat`, or any other command that listens."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.harness.deadline import DEADLINE, wait_until
from tests.harness.memory import resident_memory

BIN = Path(sys.executable).parent
"""Where the commands of the virtual environment are."""

_LISTENS = re.compile(r"(https?)://\S+:(\d+)|unix:")


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without its sharechat settings, plus `more`."""
    ours = ("SHARECHAT_", "DATABASE_URL", "REDIS_URL")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**clean, "PATH": f"{BIN}:{os.environ['PATH']}", **more}


def children(pid: int) -> list[int]:
    """Return the ids of a process's children, whichever of its threads started them."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


class ServerProcess:
    """A command that listens on 127.0.0.1, or on a Unix socket, and prints its URL once it does.

    As a context manager it starts the command, and kills it at the end if it is still
    running. Threads read its output all the time, so it never blocks on a full pipe.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        prints_url_to: str = "stdout",
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.port = 0
        self._scheme = "http"
        self.exit_code: int | None = None
        self._command = command
        self._env = env or {}
        self._prints_url_to = prints_url_to
        self._pass_fds = pass_fds
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def ws_url(self, room: str) -> str:
        return f"ws{self.url.removeprefix('http')}/api/serve/{room}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def stdout(self) -> str:
        return "".join(self._lines["stdout"])

    @property
    def stderr(self) -> str:
        return "".join(self._lines["stderr"])

    @property
    def memory(self) -> int:
        """Its resident memory, in bytes."""
        return resident_memory(self.pid)

    def start(self) -> None:
        """Return once it has printed its URL. Raises RuntimeError, with its log, if it exits."""
        self._process = process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**self._env),
            pass_fds=self._pass_fds,
        )
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            reader = threading.Thread(target=self._read, args=(pipe, self._lines[name]))
            reader.start()
            self._readers.append(reader)
        ended = process.poll
        wait_until(lambda: self._printed_url() or ended() is not None, within=3 * DEADLINE)
        printed = self._printed_url()
        if printed is None:
            self.kill()
            raise RuntimeError(f"the server did not start:\n{self.stderr}")
        if printed[1]:  # Otherwise it is a Unix socket.
            self._scheme, self.port = printed[1], int(printed[2])

    def _printed_url(self) -> re.Match[str] | None:
        lines = list(self._lines[self._prints_url_to])
        return next(filter(None, map(_LISTENS.search, lines)), None)

    @staticmethod
    def _read(pipe: Any, lines: list[str]) -> None:
        with pipe:
            lines.extend(iter(pipe.readline, ""))

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, within: float = DEADLINE) -> int:
        """Wait for it to exit, and return its exit code. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        self.exit_code = self._process.wait(within)
        for reader in self._readers:
            reader.join(within)
        return self.exit_code

    def stop(self, within: float = DEADLINE) -> int:
        """Send SIGTERM, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self.wait(within)

    def kill(self) -> None:
        """Send SIGKILL, and wait for it to exit. May be called after it has exited."""
        assert self._process is not None
        self._process.kill()
        self.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def serve_flags(flags: Sequence[str], env: Mapping[str, str] | None = None) -> list[str]:
    """Return the arguments for a server on a free port, in memory if nothing else is said."""
    says_where = {"--database-url", "--data"} & set(flags) or {"DATABASE_URL"} & set(env or {})
    where = () if says_where else ("--in-memory",)
    return ["serve", "--port", "0", *where, *flags]


class SharechatProcess(ServerProcess):
    """`sharechat serve` with the given flags: see `serve_flags`."""

    def __init__(self, *flags: str, env: Mapping[str, str] | None = None) -> None:
        super().__init__([str(BIN / "sharechat"), *serve_flags(flags, env)], env)


class ImpatientProcess(ServerProcess):
    """Like SharechatProcess, with the times of `tests/harness/impatient.py`."""

    def __init__(self, *flags: str) -> None:
        command = [sys.executable, "-m", "tests.harness.impatient", *serve_flags(flags)]
        super().__init__(command, {"PYTHONPATH": str(Path(__file__).parents[2])})
