"""The websocket endpoint."""

from collections.abc import Collection, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from h11 import LocalProtocolError
from hypercorn.typing import ASGIReceiveCallable
from quart import Blueprint, websocket
from quart.wrappers import Websocket
from quart_trio.asgi import TrioASGIWebsocketConnection
from trio import Nursery

from sharechat.actors.controller import Controller
from sharechat.domain.messages import RoomInfo, parse_message_id, parse_room_id
from sharechat.domain.outcomes import BAD_QUERY, ORIGIN_NOT_ALLOWED, TOO_MANY
from sharechat.domain.ports import Repository
from sharechat.net.admission import Admission
from sharechat.net.decoder import Decoder
from sharechat.net.direct_connection import DirectConnection
from sharechat.net.heartbeat import Heartbeat
from sharechat.net.transport import Transport
from sharechat.web.asgi_connection import AsgiConnection
from sharechat.web.origins import is_allowed
from sharechat.web.problems import ProblemError

TRANSPORT = "sharechat.transport"
"""The key in the ASGI scope's state where `sharechat serve` leaves the Transport."""


class WebsocketSession(TrioASGIWebsocketConnection):
    """Quart-Trio's, but a client that goes does not take back what it said before.

    Quart-Trio cancels the handler when the client has gone, with messages still waiting
    to be received. Here the handler receives them, and then `trio.EndOfChannel`.
    """

    async def handle_messages(  # type: ignore[override]
        self,
        nursery: Nursery,  # noqa: ARG002 - Quart-Trio passes it
        receive: ASGIReceiveCallable,
    ) -> None:
        async with self.send_channel:
            while True:
                event = await receive()
                if event["type"] == "websocket.disconnect":
                    return
                if event["type"] == "websocket.receive":
                    data = event.get("bytes")
                    await self.send_channel.send(event["text"] or "" if data is None else data)


class Serve:
    """Turns websockets into members."""

    def __init__(
        self,
        controller: Controller,
        repository: Repository,
        admission: Admission,
        heartbeat: Heartbeat,
        *,
        allowed_origins: Collection[str],
        max_message_bytes: int,
    ) -> None:
        self._controller = controller
        self._repository = repository
        self._admission = admission
        self._heartbeat = heartbeat
        self._allowed_origins = allowed_origins
        self._max_message_bytes = max_message_bytes

    def routes(self) -> Blueprint:
        """Return the websocket route."""
        api = Blueprint("serve", __name__, url_prefix="/api")

        @api.websocket("/serve/<room_id>")
        async def serve_room(room_id: str) -> None:
            await self._handle(websocket._get_current_object(), room_id)  # type: ignore[attr-defined]

        return api

    async def _handle(self, session: Websocket, room_id: str) -> None:
        """Accept a websocket, and serve its member or leave that to the Transport's successor.

        Raises what turns the handshake away: errors of the domain, and ProblemError.
        """
        origin = session.headers.get("Origin")
        if not is_allowed(origin, session.headers.get("Host", ""), self._allowed_origins):
            raise ProblemError(ORIGIN_NOT_ALLOWED, f"Pages of {origin} may not use this server.")
        peer, _ = session.scope.get("client") or ("", 0)
        client = self._admission.forwarded_for(peer, session.headers)
        if client is not None and self._admission.is_full(client):
            raise ProblemError(TOO_MANY, "Close some of the others first.")
        decoder = self._make_decoder(session)
        room = await self._controller.open_room(parse_room_id(room_id))
        cursor = session.args.get("after")
        after = None
        if cursor is not None:
            after = await self._repository.find(room.id, parse_message_id(cursor))
        live = partial(self._live, room, after, client)

        state: Mapping[str, Any] = session.scope.get("state") or {}
        transport: Transport | None = state.get(TRANSPORT)
        # On HTTP/2 a websocket shares its connection with others (RFC 8441).
        if transport is None or session.http_version != "1.1":
            await session.accept()
            await live(AsgiConnection(session, self._max_message_bytes))
        else:
            transport.take_over()
            try:
                await session.accept()
            except LocalProtocolError:
                return  # The client did not wait for an answer, and hypercorn has refused it.
            transport.successor = partial(live, DirectConnection(transport, decoder))

    async def _live(
        self,
        room: RoomInfo,
        after: int | None,
        client: str | None,
        connection: DirectConnection | AsgiConnection,
    ) -> None:
        admitted = nullcontext() if client is None else self._admission.admit(client)
        with admitted, self._heartbeat.watch(connection):
            await self._controller.serve_room(room, connection, after=after)

    def _make_decoder(self, session: Websocket) -> Decoder:
        # Hypercorn, too, goes by the last of several such headers.
        offers = session.headers.getlist("Sec-WebSocket-Extensions")
        try:
            return Decoder(offers[-1] if offers else "", self._max_message_bytes)
        except ValueError:
            raise ProblemError(BAD_QUERY, "Sec-WebSocket-Extensions makes no sense.") from None
