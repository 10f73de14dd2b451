"""A plain HTTP client for the REST API. Every call blocks, for DEADLINE at most."""

import contextlib
import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.harness.deadline import DEADLINE
from tests.harness.tls import client_context

Json = dict[str, Any]

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
"""The headers of a websocket handshake, for a `fetch` that expects it to be refused."""


class Response(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def fetch(
    url: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    *,
    source: str = "",
) -> Response:
    """Send one HTTP request over a connection of its own, from the address `source` if given.

    An https URL is that of a server with a certificate of the tests.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    here = (source, 0)
    connection = (
        http.client.HTTPSConnection(
            parts.hostname,
            parts.port,
            timeout=DEADLINE,
            source_address=here,
            context=client_context(),
        )
        if parts.scheme == "https"
        else http.client.HTTPConnection(
            parts.hostname, parts.port, timeout=DEADLINE, source_address=here
        )
    )
    with contextlib.closing(connection):
        connection.request(method, target, headers=headers or {})
        response = connection.getresponse()
        return Response(response.status, response.headers, response.read())


def make_room(base: str) -> str:
    """Make a room, and return its id."""
    room_id: str = fetch(f"{base}/api/room", "POST").json["roomId"]
    return room_id


def members(base: str, room: str) -> list[Json]:
    """Return a room's members."""
    found: list[Json] = fetch(f"{base}/api/room/{room}").json["members"]
    return found


def history(base: str, room: str, query: str = "") -> list[Json]:
    """Return a room's messages."""
    messages: list[Json] = fetch(f"{base}/api/room/{room}/messages{query}").json
    return messages


def texts(messages: Sequence[Json]) -> list[str]:
    """Return the texts of the chat messages, leaving out `joined` and `left`."""
    return [message["message"] for message in messages if message["type"] == "chat"]
