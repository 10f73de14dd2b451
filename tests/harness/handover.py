"""A Handover over a real socket, with the peer at its other end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

import trio
from trio.testing import wait_all_tasks_blocked

from sharechat.net.decoder import Decoder
from sharechat.net.direct_connection import DirectConnection
from sharechat.net.handover import Handover, State
from sharechat.net.heartbeat import Heartbeat
from sharechat.net.transport import GONE, Transport
from tests.harness.deadline import DEADLINE
from tests.harness.pair import LIMIT, tcp_pair
from tests.harness.sockets import reset_on_close

ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
TIMEOUT = 0.1

Http = Callable[[Handover], Awaitable[None]]
"""What hypercorn does with a connection."""


class Connected:
    """A Handover that runs, the peer at its other end, and what became of it."""

    def __init__(self, handover: Handover, peer: trio.SocketStream) -> None:
        self.handover = handover
        self.peer = peer
        self.scope = trio.CancelScope()
        self.held = ExitStack()
        self.released = False
        self.held.callback(self._release)
        self.serving = trio.Event()
        self.ended = trio.Event()
        self.error: BaseException | None = None

    def _release(self) -> None:
        self.released = True

    def take(self, serve: Callable[[DirectConnection], Awaitable[None]]) -> None:
        async def serve_and_tell(connection: DirectConnection) -> None:
            self.serving.set()
            await serve(connection)

        self.handover.take(Decoder(None, LIMIT), serve_and_tell, self.held.pop_all())

    def reset(self) -> None:
        reset_on_close(self.peer)
        self.peer.socket.close()

    async def hears(self, expected: bytes) -> None:
        received = b""
        with trio.fail_after(DEADLINE):
            while len(received) < len(expected):
                data = await self.peer.receive_some(len(expected) - len(received))
                assert data, received
                received += data
        assert received == expected

    async def run(self, http: Http) -> None:
        try:
            with self.scope:
                await self.handover.run(http)
        except* Exception as error:  # noqa: BLE001 - each test expects one, or none
            self.error = error
        self.ended.set()

    async def ends(self) -> None:
        """Assert that the Handover has ended, or does so soon, with its socket closed."""
        with trio.fail_after(DEADLINE):
            await self.ended.wait()
        assert self.handover.state is State.CLOSED
        assert self.handover.socket.fileno() == -1

    async def is_closed(self) -> None:
        """Assert that the peer sees the end of the connection, and that the Handover ends.

        The peer closes as soon as it has seen the end.
        """
        with trio.fail_after(DEADLINE), suppress(*GONE):
            while await self.peer.receive_some():
                pass
        await self.peer.aclose()
        await self.ends()


@asynccontextmanager
async def connected(
    make_http: Callable[[Connected], Http], *, timeout: float = DEADLINE
) -> AsyncIterator[Connected]:
    ours, theirs = tcp_pair()
    async with trio.open_nursery() as nursery, theirs:
        handover = Handover(Transport(ours), Heartbeat(), timeout=timeout, linger=TIMEOUT)
        both = Connected(handover, theirs)
        nursery.start_soon(both.run, make_http(both))
        await wait_all_tasks_blocked()
        yield both
        nursery.cancel_scope.deadline = trio.current_time() + DEADLINE
    assert not nursery.cancel_scope.cancelled_caught


def handshaking(app: Callable[[Connected], Awaitable[None]]) -> Callable[[Connected], Http]:
    """Have a handshake come that `app` answers, and hypercorn close the connection afterwards."""

    def make_http(both: Connected) -> Http:
        async def http(handover: Handover) -> None:
            await app(both)
            await handover.send_eof()
            await handover.aclose()

        return http

    return make_http
