"""The opening handshake of a websocket over HTTP/1.1 (RFC 6455, section 4.2)."""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from sharechat.domain.outcomes import BAD_HANDSHAKE, WRONG_VERSION, Problem

Headers = list[tuple[bytes, bytes]]

_VERSION = "13"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Refusal(NamedTuple):
    """Why a handshake is refused, and the headers of the answer that go with it."""

    problem: Problem
    detail: str
    headers: Headers = []  # noqa: RUF012 - never changed


def is_handshake(method: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request asks for a websocket; anything else is plain HTTP.

    A header that is a list may have several lines, too (RFC 9110, section 5.3).
    """
    headers = list(headers)
    return (
        method == b"GET"
        and "upgrade" in (option.lower() for option in elements(headers, b"connection"))
        and "websocket" in (protocol.lower() for protocol in elements(headers, b"upgrade"))
    )


def check(http_version: bytes, headers: Headers, *, early: bool) -> Refusal | None:
    """Return why a handshake must be refused, None if it is valid.

    The names in `headers` are in lower case. `early` tells whether the client has sent
    something after the request.
    """
    if http_version != b"1.1":
        return Refusal(BAD_HANDSHAKE, "A websocket's handshake must use HTTP/1.1.")
    names = [name for name, _ in headers]
    if b"transfer-encoding" in names or _values(headers, b"content-length") not in ([], ["0"]):
        return Refusal(BAD_HANDSHAKE, "A websocket's handshake must not have a body.")
    if early:
        return Refusal(BAD_HANDSHAKE, "A client must wait for the answer to its handshake.")
    versions = elements(headers, b"sec-websocket-version")
    if not versions:
        return Refusal(BAD_HANDSHAKE, "Sec-WebSocket-Version is missing.")
    if versions != [_VERSION]:
        offer = [
            (b"sec-websocket-version", _VERSION.encode()),
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
        ]
        return Refusal(WRONG_VERSION, f"This server speaks version {_VERSION}.", offer)
    keys = _values(headers, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return Refusal(
            BAD_HANDSHAKE, "Exactly one Sec-WebSocket-Key is needed: 16 bytes in base64."
        )
    return None


def accepting(headers: Headers) -> Headers:
    """Return the headers of the answer that accepts a valid handshake."""
    (key,) = _values(headers, b"sec-websocket-key")
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-accept", base64.b64encode(digest)),
    ]


def elements(headers: Headers, name: bytes) -> list[str]:
    """Return the elements of a header that is a list (RFC 9110, section 5.6.1)."""
    parts = (part.strip(" \t") for part in ",".join(_values(headers, name)).split(","))
    return [part for part in parts if part]


def _values(headers: Headers, name: bytes) -> list[str]:
    # Latin-1 never fails; what is not ASCII is no name or value that is known here.
    return [value.decode("latin-1").strip(" \t") for key, value in headers if key == name]


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (ValueError, binascii.Error):  # ValueError: it is not ASCII.
        return False
