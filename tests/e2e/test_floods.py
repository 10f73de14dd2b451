"""A client that sends as fast as it can, or never stops, costs the others nothing."""

import json
import statistics
from contextlib import suppress

import pytest
import trio
from wsproto.frame_protocol import Opcode

from tests.harness.deadline import eventually
from tests.harness.http import make_room, members
from tests.harness.memory import MIB, MemoryWatch
from tests.harness.peer import Peer, compressed, frame, text
from tests.harness.process import SharechatProcess
from tests.harness.reader import PATIENCE, Reader


@pytest.mark.parametrize("way", ["pings", "texts"])
async def test_a_flood_slows_only_the_member_that_sends_it(way: str) -> None:
    """The member sends frames as fast as the server reads them, and reads nothing itself."""
    flags = ("--message-rate", "20", "--log-level", "warning")
    with SharechatProcess(*flags) as server:
        room = make_room(server.url)
        async with trio.open_nursery() as nursery:
            readers = [await Reader.open(server.ws_url(room), nursery) for _ in range(3)]
            before = [await readers[0].round_trip(f"before-{number}") for number in range(30)]
            flooder = await Peer.open(server.ws_url(room))
            unit = frame(Opcode.PING, b"") if way == "pings" else text("!")
            sent = 0

            async def flood() -> None:
                nonlocal sent
                while True:
                    await flooder.stream.send_all(unit * 5000)
                    sent += 5000

            async with MemoryWatch.during(server) as memory, trio.open_nursery() as flooding:
                flooding.start_soon(flood)
                during = [await readers[1].round_trip(f"during-{number}") for number in range(40)]
                flooding.cancel_scope.cancel()
            for name, latencies in (("before", before), ("during", during)):
                print(f"{name}: p50 {1000 * statistics.median(latencies):.1f} ms")
            print(f"{sent} {way}; memory grew by {memory.growth / MIB:.1f} MiB")
            assert memory.growth < 32 * MIB
            assert statistics.median(during) < 1
            flooder.drop()
            nursery.cancel_scope.cancel()
        assert server.stop() == 0
        assert server.stderr == ""


async def test_a_flood_of_pings_takes_no_memory_and_ends_the_connection(
    own_server: SharechatProcess,
) -> None:
    room = make_room(own_server.url)
    flooder = await Peer.open(own_server.ws_url(room))
    witness = await Peer.open(own_server.ws_url(room))
    async with MemoryWatch.during(own_server) as memory:
        for number in range(30_000):
            await flooder.try_to_send(frame(Opcode.PING, b"%0120d" % number) * 10)
    print(f"memory grew by {memory.growth / MIB:.1f} MiB")
    assert memory.growth < 16 * MIB
    # The code is 1008, but a client that only sends may see no more than a reset.
    await flooder.ends()
    await witness.send(text("still here"))
    with trio.fail_after(PATIENCE):
        while json.loads(await witness.hear_text())["message"] != "still here":
            pass
    witness.drop()


async def test_a_client_that_sends_endless_fragments_is_closed(
    own_server: SharechatProcess,
) -> None:
    room = make_room(own_server.url)
    # Empty ones are both too many and, if they come at once, too much for a message.
    for size, codes in ((0, {1008, 1009}), (1, {1009}), (100, {1009}), (60_000, {1009})):
        peer = await Peer.open(own_server.ws_url(room))
        async with trio.open_nursery() as nursery:

            async def send(peer: Peer = peer, size: int = size) -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await peer.stream.send_all(frame(Opcode.TEXT, b"x", flags=0))
                    while True:
                        fragment = frame(Opcode.CONTINUATION, b"x" * size, flags=0)
                        await peer.stream.send_all(fragment * 10)

            nursery.start_soon(send)
            assert (await peer.hear_close()).code in codes
            nursery.cancel_scope.cancel()
        peer.drop()


async def test_fifty_decompression_bombs_are_closed_in_bounded_memory(
    own_server: SharechatProcess,
) -> None:
    room = make_room(own_server.url)
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    # 16 MB once inflated, but deflated within the limit on a message.
    bomb = compressed(b"\0" * 16_000_000)
    assert len(bomb) < 16_384
    async with MemoryWatch.during(own_server) as memory:
        peers = [await Peer.open(own_server.ws_url(room), offer) for _ in range(50)]
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(peer.send, bomb)
        for peer in peers:
            assert (await peer.hear_close()).code == 1009
            peer.drop()
    print(f"memory grew by {memory.growth / MIB:.1f} MiB")
    assert memory.growth < 32 * MIB
    await eventually(lambda: not members(own_server.url, room))
