"""One server for all tests that need no other; it is never told anything special."""

from collections.abc import Iterator

import pytest

from tests.harness.http import make_room
from tests.harness.peer import close_all
from tests.harness.process import SharechatProcess


@pytest.fixture(autouse=True)
def _peers() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture(scope="session", name="server")
def _server() -> Iterator[SharechatProcess]:
    with SharechatProcess() as server:
        yield server
        assert server.stop() == 0
        assert "[error" not in server.stderr, server.stderr


@pytest.fixture(scope="session", name="unlimited")
def _unlimited() -> Iterator[SharechatProcess]:
    """One that lets members talk as fast as they can."""
    with SharechatProcess("--message-rate", "0") as server:
        yield server
        assert server.stop() == 0
        assert "[error" not in server.stderr, server.stderr


@pytest.fixture(name="room")
def _room(server: SharechatProcess) -> str:
    return make_room(server.url)
