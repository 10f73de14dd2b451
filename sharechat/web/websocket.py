"""The websocket endpoint: turns handshakes into members."""

from contextlib import ExitStack
from functools import partial

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Blueprint, websocket
from quart.wrappers import Websocket
from quart_trio.asgi import TrioASGIWebsocketConnection
from trio import Nursery

from sharechat.actors.controller import Controller
from sharechat.domain.ids import parse_message_id, parse_room_id
from sharechat.domain.ports import Repository
from sharechat.net.admission import Admission
from sharechat.net.decoder import Decoder
from sharechat.net.deflate import negotiate
from sharechat.net.handover import find_handover
from sharechat.web.asgi_connection import AsgiConnection
from sharechat.web.peers import peer_of

EXTENSIONS = "Sec-WebSocket-Extensions"


class WebsocketSession(TrioASGIWebsocketConnection):
    """Quart-Trio's, but what a client said before it went is not lost.

    Quart-Trio cancels the handler when the client has gone, although messages may still wait
    to be received. Here the handler receives those, and then `trio.EndOfChannel`. Nothing is sent
    any more then, since an ASGI server may raise if something is.
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
    ) -> None:
        self._controller = controller
        self._repository = repository
        self._admission = admission
        self._max_message_bytes = max_message_bytes

    def blueprint(self) -> Blueprint:
        api = Blueprint("websocket", __name__, url_prefix="/api")

        @api.websocket("/serve/<room_id>")
        async def serve_room(room_id: str) -> None:
            await self._handle(websocket._get_current_object(), room_id)  # type: ignore[attr-defined]

        return api

    async def _handle(self, session: Websocket, room_id: str) -> None:
        """Answer a handshake; if it is accepted, serve the member or have the Handover do it.

        Raises the error of the domain that the handshake is refused for.
        """
        with ExitStack() as place:
            messages = place.enter_context(self._admission.admit_member(*peer_of(session)))
            room = await self._controller.rooms.open_room(parse_room_id(room_id))
            after = None
            if (cursor := session.args.get("after")) is not None:
                after = await self._repository.find(room.id, parse_message_id(cursor))
            serve = partial(self._controller.serve_room, room, after=after, messages=messages)
            if handover := find_handover(session.scope):
                agreed = negotiate(session.headers.getlist(EXTENSIONS))
                await session.accept({EXTENSIONS: agreed.answer} if agreed else None)
                decoder = Decoder(agreed, self._max_message_bytes)
                handover.take(decoder, serve, place.pop_all())
            else:
                await session.accept()
                await serve(AsgiConnection(session, self._max_message_bytes))
