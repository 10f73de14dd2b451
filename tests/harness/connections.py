"""Every adapter of the Connection port, each with the client at its other end."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import NamedTuple, Protocol

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import websocket
from quart_trio import QuartTrio
from wsproto.frame_protocol import Opcode

from sharechat.actors.policy import Policy
from sharechat.domain.ids import RoomId
from sharechat.domain.outcomes import Close
from sharechat.domain.ports import Connection
from sharechat.web.asgi_connection import AsgiConnection
from sharechat.web.websocket import WebsocketSession
from tests.harness.connection import FakeConnection
from tests.harness.pair import LIMIT, websockets
from tests.harness.peer import Peer, frame, text
from tests.harness.waiting import until
from tests.simulation.authors import Author
from tests.simulation.client import Reading, SimClient
from tests.simulation.connection import SimConnection
from tests.simulation.kernel import simulated_network
from tests.simulation.process import SimProcess
from tests.simulation.queue import Bus
from tests.simulation.state import Said
from tests.simulation.truth import Truth
from tests.simulation.world import World

SMALL = 4096
"""Bytes that the kernel keeps for each end of a real socket, or about that."""


class Client(Protocol):
    """The other end of a Connection. It reads only while `hears` or `sees_close` runs."""

    async def says(self, *texts: str) -> None: ...

    async def hears(self, count: int) -> list[str]:
        """Read so many messages; return their texts."""
        ...

    async def hangs_up(self) -> None:
        """End the connection properly."""
        ...

    def drops(self) -> None:
        """Be gone without a word."""
        ...

    async def sees_close(self) -> tuple[int, str]:
        """Read to the end; return the close code and the reason."""
        ...


class Ends(NamedTuple):
    connection: Connection
    client: Client


Connect = Callable[[], AbstractAsyncContextManager[Ends]]


class _PeerClient:
    """A client over a real socket."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def says(self, *texts: str) -> None:
        for said in texts:
            await self._peer.send(text(said))

    async def hears(self, count: int) -> list[str]:
        return [json.loads(await self._peer.hear_text())["message"] for _ in range(count)]

    async def hangs_up(self) -> None:
        await self._peer.send(frame(Opcode.CLOSE, b"\x03\xe8"))

    def drops(self) -> None:
        self._peer.drop()

    async def sees_close(self) -> tuple[int, str]:
        close = await self._peer.hear_close()
        await self._peer.stream.aclose()
        return close.code, close.reason or ""


@asynccontextmanager
async def direct(*, secure: bool) -> AsyncIterator[Ends]:
    async with websockets(buffers=SMALL, secure=secure) as (connection, peer):
        yield Ends(connection, _PeerClient(peer))


@asynccontextmanager
async def asgi() -> AsyncIterator[Ends]:
    """Serve a websocket by hypercorn, through Quart, as the server without its own sockets does."""
    app = QuartTrio("connections")
    app.asgi_websocket_class = WebsocketSession
    send, receive = trio.open_memory_channel[AsgiConnection](1)

    @app.websocket("/")
    async def accept() -> None:
        await websocket.accept()
        session = websocket._get_current_object()  # type: ignore[attr-defined]
        await send.send(AsgiConnection(session, LIMIT))
        await trio.sleep_forever()

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        start = partial(serve, app, config, shutdown_trigger=trio.sleep_forever)
        (url,) = await nursery.start(start)
        peer = await Peer.open(f"{url}/")
        yield Ends(await receive.receive(), _PeerClient(peer))
        # Hypercorn shields what it sends: only a socket that is gone ends that.
        if peer.stream.socket.fileno() >= 0:
            peer.drop()
        nursery.cancel_scope.cancel()


class _FakeClient:
    def __init__(self, connection: FakeConnection) -> None:
        self._connection = connection
        self._heard = 0
        connection.stalls()

    async def says(self, *texts: str) -> None:
        self._connection.says(*texts)

    async def hears(self, count: int) -> list[str]:
        self._connection.reads_on()
        self._heard += count
        await until(lambda: len(self._connection.texts) >= self._heard)
        self._connection.stalls()
        return self._connection.texts[self._heard - count : self._heard]

    async def hangs_up(self) -> None:
        self._connection.hangs_up()

    def drops(self) -> None:
        self._connection.hangs_up()

    async def sees_close(self) -> tuple[int, str]:
        self._connection.reads_on()
        await self._connection.closed.wait()
        return _code_and_reason(self._connection.close)


@asynccontextmanager
async def fake(*, slow: bool) -> AsyncIterator[Ends]:
    connection = FakeConnection(slow=slow)
    yield Ends(connection, _FakeClient(connection))


class _SimClient:
    def __init__(self, client: SimClient) -> None:
        self._client = client
        self._heard = 0
        client.reads_as(Reading.STALLED)

    async def says(self, *texts: str) -> None:
        self._client.sends(*(Said(text, text) for text in texts))

    async def hears(self, count: int) -> list[str]:
        self._client.reads_as(Reading.EAGER)
        self._heard += count
        await until(lambda: len(self._client.heard) >= self._heard)
        self._client.reads_as(Reading.STALLED)
        heard = self._client.heard[self._heard - count : self._heard]
        return [message.text for _, message in heard]

    async def hangs_up(self) -> None:
        self._client.closes()

    def drops(self) -> None:
        self._client.resets()

    async def sees_close(self) -> tuple[int, str]:
        self._client.reads_as(Reading.EAGER)
        await until(lambda: self._client.websocket.ended)
        assert self._client.websocket.close_frame is not None
        return self._client.websocket.close_frame


@asynccontextmanager
async def simulated(*, always_waits: bool) -> AsyncIterator[Ends]:
    async with trio.open_nursery() as nursery:
        world = World(nursery, seed=2)
        world.truth, world.bus = Truth(world), Bus(world)
        process = SimProcess(world, Policy())
        author = Author(world, RoomId("room"))
        with simulated_network():
            client = SimClient(world, process, author, always_waits=always_waits)
            yield Ends(SimConnection(world, client), _SimClient(client))
        assert not world.violations
        nursery.cancel_scope.cancel()


def _code_and_reason(close: Close | None) -> tuple[int, str]:
    return (close.code, close.reason) if close is not None else (1000, "")


ADAPTERS: dict[str, Connect] = {
    "direct": partial(direct, secure=False),
    "direct, over TLS": partial(direct, secure=True),
    "asgi": asgi,
    "fake": partial(fake, slow=False),
    "slow fake": partial(fake, slow=True),
    "simulated": partial(simulated, always_waits=False),
    "simulated, always waits": partial(simulated, always_waits=True),
}
