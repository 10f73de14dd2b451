"""What a DirectConnection tells of its end, and of pings."""

import pytest
import trio
from wsproto.frame_protocol import Opcode

from sharechat.adapters.prometheus import PrometheusTelemetry
from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import RESTARTING
from sharechat.net.direct_connection import PING_INTERVAL, SILENCE, DirectConnection
from tests.harness.metrics import counted
from tests.harness.pair import receive, websockets
from tests.harness.peer import frame
from tests.harness.waiting import until


@pytest.fixture(name="telemetry")
def _telemetry() -> PrometheusTelemetry:
    return PrometheusTelemetry("test")


def closes(telemetry: PrometheusTelemetry) -> dict[tuple[str, str], float]:
    """Return how many connections ended with which code, and by which side."""
    return {
        (sample.labels["code"], sample.labels["side"]): sample.value
        for metric in telemetry.registry.collect()
        for sample in metric.samples
        if sample.name == "sharechat_closes_total" and sample.value
    }


async def end(connection: DirectConnection) -> None:
    """Do what a member does when its client has gone."""
    with pytest.raises(ConnectionClosedError):
        await receive(connection)
    await connection.aclose()


@pytest.mark.parametrize(
    ("sent", "code", "side"),
    [
        (frame(Opcode.CLOSE, b"\x03\xe9"), "1001", "client"),
        (frame(Opcode.CLOSE, b""), "1005", "client"),
        # A client may send any of a thousand codes of its own.
        (frame(Opcode.CLOSE, (4711).to_bytes(2, "big")), "other", "client"),
        (frame(Opcode.TEXT, b"\xff"), "1007", "server"),
    ],
)
async def test_a_close_counts_by_its_code_and_whoever_began(
    telemetry: PrometheusTelemetry, sent: bytes, code: str, side: str
) -> None:
    async with websockets(telemetry=telemetry, close_timeout=0.1) as (connection, peer):
        await peer.send(sent)
        await end(connection)
        await connection.aclose()  # A second call changes nothing.
    assert closes(telemetry) == {(code, side): 1}


async def test_a_client_that_vanishes_counts_as_1006(telemetry: PrometheusTelemetry) -> None:
    async with websockets(telemetry=telemetry) as (connection, peer):
        await peer.stream.aclose()
        await end(connection)
    assert closes(telemetry) == {("1006", "client"): 1}


async def test_a_client_that_we_close_counts_as_ours(telemetry: PrometheusTelemetry) -> None:
    async with websockets(telemetry=telemetry, close_timeout=0.1) as (connection, _):
        await connection.aclose(RESTARTING)
    assert closes(telemetry) == {("1012", "server"): 1}


async def test_a_silent_client_that_we_cut_off_counts_as_1006_of_ours(
    telemetry: PrometheusTelemetry, nursery: trio.Nursery
) -> None:
    async with websockets(telemetry=telemetry) as (connection, _):
        nursery.start_soon(end, connection)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(SILENCE + 1):
            connection.beat(trio.current_time())
        await until(lambda: closes(telemetry) == {("1006", "server"): 1})


async def test_the_time_from_a_ping_to_its_pong_is_counted_once(
    telemetry: PrometheusTelemetry, nursery: trio.Nursery
) -> None:
    def pings() -> float:
        return counted(telemetry, "sharechat_ping_seconds_count")

    async with websockets(telemetry=telemetry) as (connection, peer):
        pong = frame(Opcode.PONG, b"")
        await peer.send(pong + frame(Opcode.TEXT, b"unasked"))
        await receive(connection)
        assert pings() == 0
        connection.beat(trio.current_time() + PING_INTERVAL)
        await peer.send(pong + pong + frame(Opcode.TEXT, b"asked"))
        await receive(connection)
        assert pings() == 1
