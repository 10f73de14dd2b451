"""Limits hold however many handshakes come at the same moment."""

import trio

from tests.harness.deadline import DEADLINE
from tests.harness.http import make_room
from tests.harness.peer import Peer, upgrade
from tests.harness.process import SharechatProcess

HANDSHAKES = 200


async def accepted_of(server: SharechatProcess, *headers: str) -> int:
    """Send handshakes all at once, and keep them open; return how many were accepted."""
    path = f"/api/serve/{make_room(server.url)}"
    statuses: list[str] = []

    async def shake_hands(peer: Peer) -> None:
        await peer.send(upgrade(path, headers))
        head, _ = await peer.response()
        statuses.append(head.split()[1])

    peers = [Peer(await trio.open_tcp_stream("127.0.0.1", server.port)) for _ in range(HANDSHAKES)]
    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(shake_hands, peer)
    assert set(statuses) <= {"101", "429", "503"}
    return statuses.count("101")


async def test_one_address_behind_a_proxy_gets_no_more_than_its_share() -> None:
    flags = ("--trusted-proxy", "127.0.0.1", "--max-per-address", "12")
    with SharechatProcess(*flags) as server:
        assert await accepted_of(server, "X-Forwarded-For: 192.0.2.7") == 12
        # Another address is not affected.
        assert await accepted_of(server, "X-Forwarded-For: 192.0.2.8") == 12


async def test_a_process_takes_no_more_members_than_it_may() -> None:
    with SharechatProcess("--max-members", "12") as server:
        assert await accepted_of(server) == 12
