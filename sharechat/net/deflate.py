"""Compression of a websocket's messages: permessage-deflate (RFC 7692).

The server inflates what clients send, and compresses nothing itself: a message is encoded once
for all members of a room, whatever each of them has agreed on.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

_NAME = "permessage-deflate"

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'[ \t]*({_WORD})[ \t]*(?:=[ \t]*({_WORD}|"(?:[^"\\]|\\.)*")[ \t]*)?')
_BITS = re.compile("[89]|1[0-5]")

_END_OF_MESSAGE = b"\0\0\xff\xff"
"""What the sender has cut off the end of a message (RFC 7692, section 7.2.1)."""

_MOST_STREAMS = 64
"""How many deflate streams a message may consist of; beginning one costs more than its bytes."""


class Deflate(NamedTuple):
    """What a client offers and the server agrees to. None is a parameter that is not given."""

    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False
    server_max_window_bits: int | None = None
    client_max_window_bits: int | None = None

    @property
    def answer(self) -> str:
        """The Sec-WebSocket-Extensions header that accepts the offer."""
        parameters = [_NAME]
        for name, value in self._asdict().items():
            if value is True:
                parameters.append(name)
            elif value:
                parameters.append(f"{name}={value}")
        return "; ".join(parameters)

    @classmethod
    def from_offer(cls, parameters: Sequence[tuple[str, str | None]]) -> Self | None:
        """Return the agreement, None if the offer must be declined (RFC 7692, section 7).

        That is so if a parameter is unknown, is given twice, or has a wrong value.
        """
        agreed: dict[str, bool | int | None] = {}
        for name, value in parameters:
            if name in agreed:
                return None
            match name, value:
                case "server_no_context_takeover" | "client_no_context_takeover", None:
                    agreed[name] = True
                case "client_max_window_bits", None:
                    agreed[name] = None  # The client leaves the choice to us.
                case "server_max_window_bits" | "client_max_window_bits", str() as bits if (
                    _BITS.fullmatch(bits)
                ):
                    agreed[name] = int(bits)
                case _:
                    return None
        return cls(**agreed)  # type: ignore[arg-type]


def negotiate(headers: Sequence[str]) -> Deflate | None:
    """Return what is agreed on for a client with these Sec-WebSocket-Extensions headers.

    The client's first offer that can be accepted counts. An offer that cannot be read is
    declined like one that is unknown, and does not make the handshake fail: without an answer
    nothing has been agreed on.
    """
    for element in _split(",", ", ".join(headers)):
        offer = _parse(element)
        if offer and offer[0] == (_NAME, None):
            agreed = Deflate.from_offer(offer[1:])
            if agreed:
                return agreed
    return None


def _split(separator: str, text: str) -> Iterator[str]:
    """Yield the parts of `text` between separators that are not in a quoted string."""
    # A quote that is not closed extends to the end. No alternative can fail after a long match,
    # so the time is proportional to the length.
    part = rf'(?:[^"{separator}]|"(?:[^"\\]|\\.)*"?)+'
    return (match[0] for match in re.finditer(part, text))


def _parse(element: str) -> list[tuple[str, str | None]]:
    """Return the names and values in an extension's offer, nothing if it cannot be read."""
    offer = []
    for part in _split(";", element):
        parameter = _PARAMETER.fullmatch(part)
        if parameter is None:
            return []
        name, value = parameter.groups()
        if value and value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        offer.append((name, value))
    return offer


class Inflater:
    """Inflates what one client sends, message by message."""

    def __init__(self, agreed: Deflate) -> None:
        self._agreed = agreed
        # None between two streams; an idle client needs none.
        self._stream: zlib._Decompress | None = None
        self._streams = 0

    def inflate(self, data: bytes, limit: int) -> bytes:
        """Return what a part of a message holds; nothing may follow if that is `limit` bytes.

        Raises zlib.error.
        """
        whole = b""
        while data:
            if self._stream is None:
                self._streams += 1
                if self._streams > _MOST_STREAMS:
                    raise zlib.error("too many streams in a message")
                self._stream = zlib.decompressobj(-(self._agreed.client_max_window_bits or 15))
            whole += self._stream.decompress(data, limit - len(whole))
            if len(whole) >= limit or not self._stream.eof:
                break
            # A final block ends the stream, but not the message (RFC 7692, section 7.2.3.4).
            data = self._stream.unused_data
            self._stream = None
        return whole

    def end_message(self, limit: int) -> bytes:
        """Return what is left of a message all of whose bytes have come. Raises zlib.error."""
        rest = self.inflate(_END_OF_MESSAGE, limit) if self._stream else b""
        if self._agreed.client_no_context_takeover:
            self._stream = None
        self._streams = 0
        return rest
