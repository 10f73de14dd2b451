"""What the server tells systemd."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.deadline import DEADLINE
from tests.harness.http import fetch
from tests.harness.process import SharechatProcess
from tests.harness.tls import write_certificate


class Manager:
    """The end of systemd, which is told of a service."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self._socket = sock
        self.address = address

    def hears(self) -> dict[str, str]:
        """Return the next thing that it is told, except for signs of life."""
        while (told := self._next()) == {"WATCHDOG": "1"}:
            pass
        return told

    def hears_sign_of_life(self) -> None:
        assert self._next() == {"WATCHDOG": "1"}

    def hears_nothing_more(self) -> bool:
        """Return whether a second passes without a word, soon. What was said before may come."""
        self._socket.settimeout(1)
        try:
            for _ in range(10):
                self._next()
        except TimeoutError:
            return True
        return False

    def _next(self) -> dict[str, str]:
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture(name="manager", params=["file", "abstract"])
def _manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        path = str(tmp_path / "notify")
        sock.bind(path if request.param == "file" else f"\0{path}")
        sock.settimeout(DEADLINE)
        yield Manager(sock, path if request.param == "file" else f"@{path}")


def test_it_tells_when_it_is_ready_and_when_it_stops(manager: Manager) -> None:
    with SharechatProcess(env={"NOTIFY_SOCKET": manager.address}) as server:
        assert manager.hears() == {"READY": "1"}
        assert fetch(f"{server.url}/api/healthz").status == 200
        server.signal(signal.SIGTERM)
        assert manager.hears() == {"STOPPING": "1"}
        assert server.wait() == 0


def test_it_gives_signs_of_life_unless_it_stands_still(manager: Manager) -> None:
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    with SharechatProcess(env=env) as server:
        assert manager.hears() == {"READY": "1"}
        for _ in range(3):
            manager.hears_sign_of_life()
        server.signal(signal.SIGSTOP)
        assert manager.hears_nothing_more()


def test_it_tells_when_it_has_read_the_certificate_again(manager: Manager, tmp_path: Path) -> None:
    flags = write_certificate(tmp_path)
    with SharechatProcess(*flags, env={"NOTIFY_SOCKET": manager.address}) as server:
        assert manager.hears() == {"READY": "1"}
        server.signal(signal.SIGHUP)
        told = manager.hears()
        assert told["RELOADING"] == "1"
        assert int(told["MONOTONIC_USEC"]) > 0
        assert manager.hears() == {"READY": "1"}


def test_a_manager_that_has_gone_does_not_matter(tmp_path: Path) -> None:
    with SharechatProcess(env={"NOTIFY_SOCKET": str(tmp_path / "nobody")}) as server:
        assert fetch(f"{server.url}/api/healthz").status == 200
        assert server.stop() == 0
