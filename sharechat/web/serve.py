"""The websocket endpoint."""

from collections.abc import Collection, Mapping
from typing import Any

from hypercorn.typing import ASGIReceiveCallable
from quart import Blueprint, websocket
from quart.wrappers import Websocket
from quart_trio.asgi import TrioASGIWebsocketConnection
from trio import Nursery

from sharechat.actors.controller import Controller
from sharechat.messages import parse_message_id, parse_room_id
from sharechat.outcomes import BAD_QUERY, ORIGIN_NOT_ALLOWED
from sharechat.ports import Repository
from sharechat.web.admission import Admission
from sharechat.web.asgi_connection import AsgiConnection
from sharechat.web.connection import DirectConnection
from sharechat.web.decoder import Decoder
from sharechat.web.heartbeat import Heartbeat
from sharechat.web.origins import is_allowed
from sharechat.web.problems import ProblemError
from sharechat.web.transport import Transport

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


def serve(
    controller: Controller,
    repository: Repository,
    *,
    admission: Admission,
    heartbeat: Heartbeat,
    allowed_origins: Collection[str],
    max_message_bytes: int,
) -> Blueprint:
    """Return the websocket route."""
    api = Blueprint("serve", __name__, url_prefix="/api")

    @api.websocket("/serve/<room_id>")
    async def serve_room(room_id: str) -> None:
        origin = websocket.headers.get("Origin")
        if not is_allowed(origin, websocket.headers.get("Host", ""), allowed_origins):
            raise ProblemError(ORIGIN_NOT_ALLOWED, f"Pages of {origin} may not use this server.")
        room = await controller.open_room(parse_room_id(room_id))
        cursor = websocket.args.get("after")
        after = None
        if cursor is not None:
            after = await repository.find(room.id, parse_message_id(cursor))
        session: Websocket = websocket._get_current_object()  # type: ignore[attr-defined]
        peer, _ = session.scope.get("client") or (None, None)
        with admission.admit_forwarded(peer, session.headers):
            connection = await _accept(session, max_message_bytes)
            if isinstance(connection, DirectConnection):
                with heartbeat.watch(connection):
                    await controller.serve_room(room, connection, after=after)
            else:
                await controller.serve_room(room, connection, after=after)

    return api


async def _accept(session: Websocket, max_message_bytes: int) -> DirectConnection | AsgiConnection:
    """Answer the handshake; return the fastest Connection that the server allows."""
    # Hypercorn, too, goes by the last of several such headers.
    offers = session.headers.getlist("Sec-WebSocket-Extensions")
    try:
        decoder = Decoder(offers[-1] if offers else "", max_message_bytes)
    except ValueError:
        raise ProblemError(BAD_QUERY, "Sec-WebSocket-Extensions makes no sense.") from None
    state: Mapping[str, Any] = session.scope.get("state") or {}
    transport: Transport | None = state.get(TRANSPORT)
    # On HTTP/2 a websocket shares its connection with others (RFC 8441).
    if transport is None or session.http_version != "1.1":
        await session.accept()
        return AsgiConnection(session, max_message_bytes)
    transport.take_over()
    await session.accept()
    return DirectConnection(transport, decoder)
