"""What a client does over HTTP: make a room, read its history, see who is there, delete it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx
import msgspec

from sharechat.client.addresses import RoomAddress, Server
from sharechat.client.errors import ProtocolError, UnreachableError, refused, unreachable
from sharechat.domain.messages import Identity, Message

TIMEOUT = 20.0
"""Seconds without any progress after which a request fails."""

_KEY = "Sharechat-Room-Key"
_raw_decode = json.JSONDecoder().raw_decode


class NewRoom(NamedTuple):
    address: RoomAddress
    name: str
    key: str
    """What `delete_room` needs; nobody else has it."""


class _Made(msgspec.Struct, rename="camel"):
    room_id: str
    room_name: str


class _Room(msgspec.Struct):
    members: list[Identity]


async def create_room(server: str) -> NewRoom:
    """Make a room on the server at an address such as `https://chat.example`.

    Raises ValueError for a malformed address, UnreachableError, RefusedError, ProtocolError.
    If cancelled, a room may have been made; one that nobody joins is removed by the server.
    """
    where = Server.parse(server)
    async with _client() as client:
        response = await client.post(f"{where.http}/api/room")
        try:
            made = msgspec.json.decode(response.content, type=_Made)
            key = response.headers[_KEY]
        except (msgspec.MsgspecError, KeyError):
            raise _not_sharechat(where) from None
    return NewRoom(RoomAddress(where, made.room_id), made.room_name, key)


async def history(room: str | RoomAddress, *, after: str | None = None) -> AsyncIterator[Message]:
    """Yield the messages of a room, oldest first; with `after`, those after that message's id.

    They are read as they are needed, and are those that there are at the time of the call.
    Raises ValueError for a malformed address, UnreachableError, RefusedError, ProtocolError.
    """
    address = room if isinstance(room, RoomAddress) else RoomAddress.parse(room)
    url = f"{address.api}/messages"
    params = {} if after is None else {"after": after}
    async with _client() as client, client.stream("GET", url, params=params) as response:
        text = ""
        async for piece in response.aiter_text():
            text += piece
            while message := _take_message(text):
                length, fields = message
                text = text[length:]
                yield _convert(fields, address)
        if text.strip() not in ("]", "[]"):
            raise UnreachableError("The history ended early.")


async def history_before(room: RoomAddress, message_id: str, limit: int) -> list[Message]:
    """Return the last `limit` messages before the one with this id, oldest first.

    Raises UnreachableError, RefusedError, ProtocolError.
    """
    params: dict[str, str | int] = {"limit": limit, "before": message_id}
    async with _client() as client:
        response = await client.get(f"{room.api}/messages", params=params)
    try:
        return msgspec.json.decode(response.content, type=list[Message])
    except msgspec.MsgspecError:
        raise _not_sharechat(room.server) from None


async def members(room: str | RoomAddress) -> list[Identity]:
    """Return who is in a room, in order of joining.

    Raises ValueError for a malformed address, UnreachableError, RefusedError, ProtocolError.
    """
    address = room if isinstance(room, RoomAddress) else RoomAddress.parse(room)
    async with _client() as client:
        response = await client.get(address.api)
    try:
        return msgspec.json.decode(response.content, type=_Room).members
    except msgspec.MsgspecError:
        raise _not_sharechat(address.server) from None


async def delete_room(room: str | RoomAddress, key: str) -> None:
    """Delete a room with the key that `create_room` returned.

    Raises ValueError for a malformed address, UnreachableError, RefusedError. If cancelled, it
    may have been deleted.
    """
    address = room if isinstance(room, RoomAddress) else RoomAddress.parse(room)
    async with _client() as client:
        await client.delete(address.api, headers={"Authorization": f"Bearer {key}"})


def _take_message(text: str) -> tuple[int, object] | None:
    """Return the first element of the rest of a JSON array, and where it ends, if it is there."""
    start = 0
    while start < len(text) and text[start] in "[, \n":
        start += 1
    if start == len(text) or text[start] == "]":
        return None
    try:
        fields, end = _raw_decode(text, start)
    except json.JSONDecodeError:
        return None  # More of it has yet to come.
    return end, fields


def _convert(fields: object, room: RoomAddress) -> Message:
    try:
        return msgspec.convert(fields, Message)
    except msgspec.MsgspecError:
        raise _not_sharechat(room.server) from None


def _not_sharechat(server: Server) -> ProtocolError:
    return ProtocolError(f"There is no sharechat server at {server.http}.")


@asynccontextmanager
async def _client() -> AsyncIterator[httpx.AsyncClient]:
    """Yield an HTTP client; turn its errors, and answers of 400 and more, into ClientErrors."""
    try:
        async with httpx.AsyncClient(
            timeout=TIMEOUT, event_hooks={"response": [_raise_for_status]}
        ) as client:
            yield client
    except httpx.TransportError as error:
        raise unreachable(error, error.request.url.netloc.decode()) from error


async def _raise_for_status(response: httpx.Response) -> None:
    if response.status_code < 400:
        return
    await response.aread()
    raise refused(response.status_code, detail_of(response.content))


def detail_of(body: bytes | None) -> str:
    """Return the detail of an application/problem+json body (RFC 9457), "" if it is none."""
    try:
        return str(msgspec.json.decode(body or b"", type=_Problem).detail)
    except msgspec.MsgspecError:
        return ""


class _Problem(msgspec.Struct):
    detail: str = ""
