"""Fixtures: servers. Those that need no special flags share one server."""

import resource
from collections.abc import Iterator

import pytest

from tests.harness.cluster import Cluster, Pair, cluster
from tests.harness.http import make_room
from tests.harness.process import ImpatientProcess, SharechatProcess


@pytest.fixture(name="many_files")
def _many_files() -> Iterator[None]:
    """Raise this process's limit on open files as far as the system allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="session", name="server")
def _server() -> Iterator[SharechatProcess]:
    """The server that most tests share, with its defaults."""
    with SharechatProcess() as server:
        yield server
        assert server.stop() == 0
        assert "[error" not in server.stderr, server.stderr


@pytest.fixture(scope="session", name="unlimited")
def _unlimited() -> Iterator[SharechatProcess]:
    """A shared server without a limit on the message rate."""
    with SharechatProcess("--message-rate", "0") as server:
        yield server
        assert server.stop() == 0
        assert "[error" not in server.stderr, server.stderr


@pytest.fixture(name="own_server")
def _own_server() -> Iterator[SharechatProcess]:
    """A server for one test alone, so that its memory shows what the test costs."""
    with SharechatProcess("--message-rate", "0", "--log-level", "warning") as server:
        yield server
        if server.exit_code is None:
            assert server.stop() == 0
        assert server.stderr == ""


@pytest.fixture(scope="session", name="servers")
def _servers() -> Iterator[Cluster]:
    with cluster() as servers:
        yield servers


@pytest.fixture(scope="session", name="pair")
def _pair(servers: Cluster) -> Pair:
    """Two processes of the cluster, without a limit on the message rate."""
    return servers.serve("--message-rate", "0"), servers.serve("--message-rate", "0")


@pytest.fixture(scope="module", name="impatient")
def _impatient(servers: Cluster) -> Iterator[Pair]:
    """Like `pair`, with the times of `tests/harness/impatient.py`.

    Not for the whole session: beside a busy core they might take others for dead.
    """
    flags = (*servers.flags, "--message-rate", "0")
    with ImpatientProcess(*flags) as one, ImpatientProcess(*flags) as other:
        yield one, other
        assert one.stop() == other.stop() == 0


@pytest.fixture(name="room")
def _room(server: SharechatProcess) -> str:
    return make_room(server.url)
