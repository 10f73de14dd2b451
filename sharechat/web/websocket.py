"""The websocket endpoint: turns handshakes into members."""

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial

import structlog
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Blueprint, websocket
from quart.asgi import ASGIWebsocketConnection
from quart.wrappers import Websocket
from quart_trio.asgi import TrioASGIWebsocketConnection

from sharechat.actors.controller import Controller
from sharechat.domain.errors import SharechatError, UnavailableError
from sharechat.domain.ids import parse_message_id, parse_room_id
from sharechat.domain.outcomes import PROBLEM_OF, Close, close_of
from sharechat.domain.ports import Connection, Repository
from sharechat.domain.subprotocols import PlainText, SharechatV1, Subprotocol
from sharechat.domain.telemetry import SILENT, Telemetry
from sharechat.net.admission import Admission
from sharechat.net.decoder import Decoder
from sharechat.net.deflate import negotiate
from sharechat.net.handover import find_handover
from sharechat.web.asgi_connection import AsgiConnection
from sharechat.web.peers import peer_of
from sharechat.web.request_log import forget_request

log = structlog.get_logger()

EXTENSIONS = "Sec-WebSocket-Extensions"
MEMBER_ID_HEADER = "Sharechat-Member-Id"
MEMBER_NAME_HEADER = "Sharechat-Member-Name"

_PATIENCE = 9.0
"""Seconds within which a handshake is answered, if the client reads it.

After five seconds of idleness it is then still sooner than the HTTP_TIMEOUT of a Handover.
"""


class WebsocketSession(TrioASGIWebsocketConnection):
    """Quart-Trio's, but what a client said before it went is not lost.

    Quart-Trio cancels the handler when the client has gone, although messages may still wait
    to be received. Here the handler receives those, and then `trio.EndOfChannel`. Nothing is sent
    any more then, since an ASGI server may raise if something is.

    Where a Handover takes the connection the handler only answers the handshake, and nothing is
    received here.
    """

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if find_handover(self.scope) is None:
            await super().__call__(receive, send)
        else:
            session = self._create_websocket_from_scope(send)
            await ASGIWebsocketConnection.handle_websocket(self, session, send)

    async def handle_messages(  # type: ignore[override]
        self,
        nursery: trio.Nursery,  # noqa: ARG002 - Quart-Trio passes it
        receive: ASGIReceiveCallable,
    ) -> None:
        async with self.send_channel:
            while True:
                event = await receive()
                if event["type"] == "websocket.disconnect":
                    self._closed = True
                    return
                if event["type"] == "websocket.receive":
                    data = event.get("bytes")
                    await self.send_channel.send(event["text"] or "" if data is None else data)

    async def send_data(self, send: ASGISendCallable, data: str | bytes) -> None:
        if not self._closed:
            await super().send_data(send, data)

    async def close_connection(self, send: ASGISendCallable, code: int, reason: str) -> None:
        if not self._closed:
            await super().close_connection(send, code, reason)


class WebsocketRoute:
    """`GET /api/serve/<room-id>`, if it is a websocket's handshake."""

    def __init__(
        self,
        controller: Controller,
        repository: Repository,
        admission: Admission,
        *,
        max_message_bytes: int,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._controller = controller
        self._repository = repository
        self._admission = admission
        self._telemetry = telemetry
        self._plain_text = PlainText(max_message_bytes)
        self._v1 = SharechatV1(max_message_bytes)

    def blueprint(self) -> Blueprint:
        api = Blueprint("websocket", __name__, url_prefix="/api")

        @api.websocket("/serve/<room_id>")
        async def serve_room(room_id: str) -> None:
            await self._handle(websocket._get_current_object(), room_id)  # type: ignore[attr-defined]

        return api

    async def _handle(self, session: Websocket, room_id: str) -> None:
        """Answer a handshake, and serve the member or have the Handover do it.

        Raises the error of the domain that the handshake is refused for. With `sharechat.v1`
        it is accepted instead and closed with the code that has the same meaning, since a
        browser does not show its page how a handshake was refused.
        """
        offered = self._v1.name in session.requested_subprotocols
        subprotocol = self._v1 if offered else self._plain_text
        try:
            await self._let_in(session, room_id, subprotocol)
        except SharechatError as error:
            close = close_of(error) if offered else None
            if close is None:
                raise
            self._telemetry.refused(PROBLEM_OF[type(error)])
            log.debug(
                "refused", code=close.code, detail=close.reason, address=peer_of(session).address
            )
            await _accept(session, subprotocol, partial(_close, close), ExitStack(), {})

    async def _let_in(self, session: Websocket, room_id: str, subprotocol: Subprotocol) -> None:
        id_ = parse_room_id(room_id)
        cursor = session.args.get("after")
        message_id = None if cursor is None else parse_message_id(cursor)
        with ExitStack() as place:
            messages = place.enter_context(self._admission.admit_member(*peer_of(session)))
            with trio.move_on_after(_PATIENCE) as patience:
                arrival = await self._controller.arrivals.wait()
                place.callback(arrival.end)
                _check_presence(session)
                room = await self._controller.rooms.open_room(id_)
                after = None
                if message_id is not None:
                    after = await self._repository.find(room.id, message_id)
            if patience.cancelled_caught:
                raise UnavailableError("Too many members are coming in.")
            identity = self._controller.new_identity()
            serve = partial(
                self._controller.serve_room,
                room,
                identity=identity,
                after=after,
                subprotocol=subprotocol,
                messages=messages,
                arrived=arrival.end,
            )
            headers = {MEMBER_ID_HEADER: identity.id, MEMBER_NAME_HEADER: identity.name}
            await _accept(session, subprotocol, serve, place.pop_all(), headers)


async def _accept(
    session: Websocket,
    subprotocol: Subprotocol,
    serve: Callable[[Connection], Awaitable[None]],
    held: ExitStack,
    headers: dict[str, str],
) -> None:
    """Accept a handshake; have `serve` called with the connection, and close `held` after it."""
    with held:
        if handover := find_handover(session.scope):
            if agreed := negotiate(session.headers.getlist(EXTENSIONS)):
                headers[EXTENSIONS] = agreed.answer
            await session.accept(headers, subprotocol.name)
            handover.take(Decoder(agreed, subprotocol.max_frame), serve, held.pop_all())
        else:
            await session.accept(headers, subprotocol.name)
            forget_request()
            connection = AsgiConnection(session, subprotocol.max_frame)
            await serve(connection)
            await connection.outlast()


def _check_presence(session: Websocket) -> None:
    """Raise UnavailableError if the client has gone, as many do that wait for their turn.

    To let one in and out again would take up the turn of one who is there.
    """
    if (handover := find_handover(session.scope)) and handover.gone:
        raise UnavailableError("The client has gone.")


async def _close(close: Close, connection: Connection) -> None:
    await connection.aclose(close)
