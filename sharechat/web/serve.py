"""The websocket endpoint."""

from collections.abc import Collection

from hypercorn.typing import ASGIReceiveCallable
from quart import Blueprint, websocket
from quart_trio.asgi import TrioASGIWebsocketConnection
from trio import Nursery

from sharechat.actors.controller import Controller
from sharechat.messages import parse_room_id
from sharechat.outcomes import ORIGIN_NOT_ALLOWED
from sharechat.web.connection import AsgiConnection
from sharechat.web.origins import is_allowed
from sharechat.web.problems import ProblemError


class WebsocketSession(TrioASGIWebsocketConnection):
    """Quart-Trio's, but a client that goes does not take back what it said before.

    Quart-Trio cancels the handler when the client has gone, with messages still waiting
    to be received. Here the handler receives them, and then `trio.EndOfChannel`.
    """

    async def handle_messages(  # type: ignore[override]
        self, nursery: Nursery, receive: ASGIReceiveCallable
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
    controller: Controller, *, allowed_origins: Collection[str], max_message_bytes: int
) -> Blueprint:
    """Return the websocket route."""
    api = Blueprint("serve", __name__, url_prefix="/api")

    @api.websocket("/serve/<room_id>")
    async def serve_room(room_id: str) -> None:
        origin = websocket.headers.get("Origin")
        if not is_allowed(origin, websocket.headers.get("Host", ""), allowed_origins):
            raise ProblemError(ORIGIN_NOT_ALLOWED, f"Pages of {origin} may not use this server.")
        room = await controller.open_room(parse_room_id(room_id))
        await websocket.accept()
        connection = AsgiConnection(websocket._get_current_object(), max_message_bytes)
        await controller.serve_room(room, connection)

    return api
