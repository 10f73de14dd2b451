"""The REST endpoints: rooms, their members and messages."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import structlog
from quart import Blueprint, Response, request

from sharechat.actors.controller import Controller
from sharechat.domain.ids import RoomId, parse_room_id
from sharechat.domain.messages import Entry, RoomInfo, to_json
from sharechat.domain.outcomes import KEY_MISSING, NOT_A_WEBSOCKET
from sharechat.domain.ports import Repository
from sharechat.domain.sources import Sources
from sharechat.web import pagination
from sharechat.web.peers import peer_of
from sharechat.web.problems import ProblemError
from sharechat.web.schemas import MadeRoom, RoomWithMembers

log = structlog.get_logger()

ROOM_KEY_HEADER = "Sharechat-Room-Key"


def rest(
    controller: Controller,
    repository: Repository,
    sources: Sources,
    admit_room: Callable[[str, Sequence[str], Sequence[str]], None],
) -> Blueprint:
    """Return the REST routes over these parts; `admit_room` is Admission's."""
    api = Blueprint("rest", __name__, url_prefix="/api")

    @api.post("/room")
    async def create_room() -> Response:
        admit_room(*peer_of(request))
        room = RoomInfo(sources.room_id(), sources.room_name())
        key = secrets.token_urlsafe(24)
        await repository.create_room(room, _hash(key))
        log.info("room created", room=room.id)
        response = _json(MadeRoom(room.id, room.name))
        response.headers[ROOM_KEY_HEADER] = key
        return response

    @api.get("/room/<room_id>")
    async def get_room(room_id: str) -> Response:
        id_ = parse_room_id(room_id)
        room = await controller.rooms.get_room(id_)
        members = await repository.get_members(id_)
        return _json(RoomWithMembers(room.id, room.name, members))

    @api.delete("/room/<room_id>")
    async def delete_room(room_id: str) -> Response:
        id_ = parse_room_id(room_id)
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise ProblemError(
                KEY_MISSING,
                f"Send the {ROOM_KEY_HEADER} of the room's creation as a bearer token.",
                {"WWW-Authenticate": 'Bearer realm="room"'},
            )
        await controller.rooms.delete_room(id_, _hash(key.strip()))
        # With no body at all Quart-Trio would fail after the headers.
        response = Response(b"", status=204)
        del response.headers["Content-Type"], response.headers["Content-Length"]
        return response

    @api.get("/room/<room_id>/messages")
    async def get_messages(room_id: str) -> Response:
        id_ = parse_room_id(room_id)
        query = pagination.parse(request.args)
        room = await controller.rooms.get_room(id_)
        cursor = await repository.find(room.id, query.cursor) if query.cursor else 0
        after, end = query.span(room.head, cursor)
        read = partial(controller.history.read, room.id)
        page = await read(after=after, limit=end - after) if end > after else []
        whole = not page or page[-1].seq == end
        first = b"[" + _join(page) + (b"]" if whole else b"")
        response = Response(
            _chunks(controller, room.id, first, page[-1].seq if page else end, end),
            content_type="application/json",
        )
        response.timeout = None  # By default Quart cuts a response off after a minute.
        if whole:
            response.content_length = len(first)
        ends = page if whole else [page[0], *await read(after=end - 1, limit=1)]
        if header := pagination.link(room.id, query, ends, room.head):
            response.headers["Link"] = header
        return response

    @api.get("/serve/<room_id>")
    async def not_a_websocket(room_id: str) -> Response:  # noqa: ARG001 - the route has this parameter
        raise ProblemError(
            NOT_A_WEBSOCKET,
            "Join a room with a websocket client, such as websocat.",
            {"Upgrade": "websocket", "Connection": "Upgrade"},
        )

    return api


def _hash(key: str) -> bytes:
    # The key is long and random, so a plain hash is enough: nobody can guess it.
    return hashlib.sha256(key.encode()).digest()


def _json(value: object) -> Response:
    return Response(to_json(value), content_type="application/json")


def _join(page: Sequence[Entry]) -> bytes:
    return b",".join(to_json(entry.message) for entry in page)


async def _chunks(
    controller: Controller, room_id: RoomId, chunk: bytes, after: int, end: int
) -> AsyncIterator[bytes]:
    """Yield `chunk`, and then the JSON of the entries past `after` up to `end`, page by page."""
    while True:
        with controller.history.holding(len(chunk)):
            yield chunk
        del chunk  # It must not stay in memory while the next one waits for its turn.
        if after >= end:
            return
        page = await controller.history.read(room_id, after=after, limit=end - after)
        after = page[-1].seq
        chunk = b"," + _join(page) + (b"]" if after == end else b"")
        del page
