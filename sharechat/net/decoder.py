"""Decodes the frames that a client sends on a websocket (RFC 6455, section 5).

Hypercorn comes with wsproto, which does the same. This is several times faster, counts the
size of a message in bytes, and never inflates more of a compressed one than is allowed.
"""

import zlib
from typing import NamedTuple

from wsproto.extensions import PerMessageDeflate
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import split_comma_header

from sharechat.domain.outcomes import BAD_FRAME, NOT_UTF8, TOO_LARGE, Close
from sharechat.net.frames import CLOSE, PING, PONG, TEXT

_CONTINUATION = 0x0
_BINARY = 0x2

_MAX_FRAGMENTS = 1024
"""How many fragments a message may have; even empty ones cost memory."""

_MOST_INFLATED = 1 << 16
"""Bytes of inflated text after which `feed` stops: 8 KiB on the wire may hold megabytes."""

_SLACK = 64
"""Bytes by which deflate may lengthen a message that cannot be compressed."""

# The codes that a client may send (RFC 6455, section 7.4, and its registry).
_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


class _ViolationError(Exception):
    def __init__(self, close: Close) -> None:
        super().__init__(close.reason)
        self.close = close


class Text(NamedTuple):
    """A whole message, and its size in bytes of UTF-8."""

    text: str
    size: int


class Ping(NamedTuple):
    """A ping, which a pong with the same payload must answer."""

    payload: bytes


class CloseFrame(NamedTuple):
    """The client's close frame; its payload is a code and a reason, or empty."""

    payload: bytes


class Violation(NamedTuple):
    """The client violated the protocol; `close` is how the connection must be closed."""

    close: Close


Event = Text | Ping | CloseFrame | Violation


class Decoder:
    """Turns bytes, in pieces of any size, into events. It does no I/O.

    `offers` is the client's Sec-WebSocket-Extensions header. Hypercorn answers it by wsproto's
    rules, so the same rules tell here whether and how messages are compressed (RFC 7692). A
    message may have `max_bytes` of UTF-8. Raises ValueError for a malformed header.
    """

    def __init__(self, offers: str, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = b""
        self._opcode = 0
        self._compressed = False
        self._fragments: list[bytes] = []
        self._size = 0
        self._inflated = 0
        self.overhead = 0
        """How many frames that `feed` has taken cost work and carry no text."""
        self.behind = False
        """Whether `feed` has stopped before the end of its bytes. To be read only."""
        self._deflate: PerMessageDeflate | None = None
        self._inflater: zlib._Decompress | None = None
        if offers:
            deflate = PerMessageDeflate()
            if server_extensions_handshake(split_comma_header(offers.encode()), [deflate]):
                self._deflate = deflate

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes; return the events that are complete now, in order.

        After much inflated text it stops and leaves the rest for the next call, which may be
        without new bytes; `behind` tells. A CloseFrame or a Violation is the last event; nothing
        may be fed afterwards.
        """
        events: list[Event] = []
        try:
            self._feed(data, events)
        except _ViolationError as error:
            events.append(Violation(error.close))
        return events

    def _feed(self, data: bytes, events: list[Event]) -> None:
        buffer = self._buffer + data if self._buffer else data
        position, end = 0, len(buffer)
        self._inflated = 0
        while end - position >= 2 and self._inflated < _MOST_INFLATED:
            first, second = buffer[position], buffer[position + 1]
            if not second & 0x80:  # A client must mask (section 5.1).
                raise _ViolationError(BAD_FRAME)
            length = second & 0x7F
            start = position + 6
            if length == 126:
                start += 2
                if end < start:
                    break
                length = int.from_bytes(buffer[position + 2 : position + 4], "big")
            elif length == 127:
                start += 8
                if end < start:
                    break
                length = int.from_bytes(buffer[position + 2 : position + 10], "big")
            self._check(first, length)
            if end - start < length:
                break
            position = start + length
            payload = _unmask(buffer[start - 4 : start], buffer[start:position])
            event = self._take(first, payload)
            if event is not None:
                events.append(event)
                if isinstance(event, CloseFrame):
                    return
        self.behind = self._inflated >= _MOST_INFLATED
        self._buffer = buffer[position:]

    def _check(self, first: int, length: int) -> None:
        """Refuse a frame by its header, before its payload has come."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            # Control frames are short and whole (section 5.5).
            if first & 0xF0 != 0x80 or length > 125 or opcode not in (CLOSE, PING, PONG):
                raise _ViolationError(BAD_FRAME)
            return
        begun = self._opcode != 0
        if opcode not in (_CONTINUATION, TEXT, _BINARY) or (opcode == _CONTINUATION) != begun:
            raise _ViolationError(BAD_FRAME)
        # RSV1 says that a message is compressed; it stands on the first frame only.
        allowed = 0x40 if self._deflate and not begun else 0
        if first & 0x70 & ~allowed:
            raise _ViolationError(BAD_FRAME)
        if self._size + length > self._max_bytes + _SLACK:
            raise _ViolationError(TOO_LARGE)

    def _take(self, first: int, payload: bytes) -> Event | None:
        opcode = first & 0x0F
        if opcode >= CLOSE or not payload:
            self.overhead += 1
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            return None
        if opcode == CLOSE:
            return _close_frame(payload)
        if opcode:
            self._opcode = opcode
            self._compressed = bool(first & 0x40)
        self._size += len(payload)
        self._fragments.append(payload)
        if len(self._fragments) > _MAX_FRAGMENTS:
            raise _ViolationError(TOO_LARGE)
        if not first & 0x80:
            return None
        whole = payload if len(self._fragments) == 1 else b"".join(self._fragments)
        if self._compressed:
            whole = self._inflate(whole)
        self._fragments.clear()
        self._size = self._opcode = 0
        if len(whole) > self._max_bytes:
            raise _ViolationError(TOO_LARGE)
        try:
            return Text(whole.decode(), len(whole))
        except UnicodeDecodeError:
            raise _ViolationError(NOT_UTF8) from None

    def _inflate(self, data: bytes) -> bytes:
        """Return the message that `data` holds, or a little more than it may hold."""
        assert self._deflate is not None
        if self._inflater is None or self._deflate.client_no_context_takeover:
            self._inflater = zlib.decompressobj(-int(self._deflate.client_max_window_bits))
        try:
            # RFC 7692, section 7.2.2: the sender has cut this off.
            whole = self._inflater.decompress(data + b"\0\0\xff\xff", self._max_bytes + 1)
        except zlib.error:
            raise _ViolationError(BAD_FRAME) from None
        self._inflated += len(whole)
        if self._inflater.eof:  # A last block ends the stream; the next message begins another.
            self._inflater = None
        return whole


def _unmask(mask: bytes, payload: bytes) -> bytes:
    """Return the payload with the mask taken off, as one sum of large numbers."""
    length = len(payload)
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")


def _close_frame(payload: bytes) -> CloseFrame:
    """Return the close frame, if it is one (section 7.4)."""
    if payload:
        code = int.from_bytes(payload[:2], "big")
        if len(payload) == 1 or not (code in _CODES or 3000 <= code <= 4999):
            raise _ViolationError(BAD_FRAME)
        try:
            payload[2:].decode()
        except UnicodeDecodeError:
            raise _ViolationError(NOT_UTF8) from None
    return CloseFrame(payload)
