"""The server's end of a connection: the real one over a simulated socket, and a record of it."""

import socket
from typing import cast

import trio

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import Close
from sharechat.net.decoder import Decoder
from sharechat.net.direct_connection import SILENCE, DirectConnection
from sharechat.net.transport import STALL_TIMEOUT, Transport
from tests.simulation.client import SimClient
from tests.simulation.world import World

_MOMENT = 0.001
"""Seconds by which two times that should be equal may differ."""

_CONTROL = 200
"""Bytes, more than the control frames that are sent while a drain ends."""


class SimConnection:
    """The port `Connection`, recorded in the state of the client at the other end."""

    def __init__(self, world: World, client: SimClient) -> None:
        transport = Transport(cast(socket.socket, client.server_socket))
        self.direct = DirectConnection(transport, Decoder(None, client.subprotocol.max_frame))
        client.server_socket.on_close = self._record_end
        self._world = world
        self._client = client
        self._draining = False
        self._offers = 0

    async def receive(self) -> str:
        client = self._client
        # One of them may be on its way to the log; all others were refused at once.
        while len(client.settled_at) + client.storing < len(client.consumed):
            client.settled_at.append(trio.current_time())
        await client.process.halt_if_dead()
        try:
            frame = await self.direct.receive()
        except ConnectionClosedError:
            self._record_gone()
            raise
        await client.process.halt_if_dead()
        said = client.sent[len(client.consumed)]
        if said.frame != frame:
            self._world.report_violation(f"{client}: {frame!r} was received, not {said.frame!r}")
        client.consumed.append(said.text)
        client.consumed_at.append(trio.current_time())
        client.submitted_at.append(trio.current_time())
        if said.id is not None:
            client.awaited.add(said.id)
        return frame

    @property
    def gone(self) -> bool:
        if self.direct.gone:
            self._record_gone()
        return self.direct.gone

    async def pause(self, seconds: float) -> None:
        await self.direct.pause(seconds)
        await self._client.process.halt_if_dead()
        self._client.submitted_at[-1] = trio.current_time()

    def offer(self, batch: Batch) -> bool:
        self._offers += 1
        return self.direct.offer(batch)

    @property
    def backlog(self) -> int:
        return self.direct.backlog

    async def drain(self) -> None:
        if self._draining:
            self._world.report_violation(f"{self._client}: two drains at once")
        self._draining = True
        try:
            await self._client.process.halt_if_dead()
            offers = self._offers
            await self.direct.drain()
            if self._offers == offers and self.direct.backlog > _CONTROL:
                self._world.report_violation(f"{self._client}: something waits after a drain")
                raise ConnectionClosedError
        finally:
            self._draining = False

    async def aclose(self, close: Close | None = None) -> None:
        client = self._client
        if client.gone_at is not None:
            # Perhaps a write has failed, and nothing was read any more.
            self._record_gone()
        if client.closed_at is None:
            client.closed_at = trio.current_time()
            client.close = close
            self._world.note("closed", client.number, close and close.code)
        await self.direct.aclose(close)

    def _record_gone(self) -> None:
        client = self._client
        if client.noticed_at is None:
            client.noticed_at = trio.current_time()
            if client.gone_at is None and client.closed_at is None:
                self._world.report_violation(f"{client} is taken for gone")

    def _record_end(self, reset: bool) -> None:
        """Check, when the server resets a connection that it was not closing, that it may."""
        client = self._client
        if not reset or client.closed_at is not None:
            return
        now, websocket = trio.current_time(), client.websocket
        self._world.note("aborted", client.number)
        reads = client.reads and client.gone_at is None
        stalled = not reads and now - websocket.read_at >= STALL_TIMEOUT - client.latency - _MOMENT
        answers = reads and websocket.habits.answers_pings
        silent = not answers and now - websocket.sent_at >= SILENCE - _MOMENT
        if not (stalled or silent or websocket.ended):
            self._world.report_violation(f"{client} was taken for dead although it is not")
        client.aborted = True
        client.gone_at = client.gone_at or now
        self._record_gone()
