"""Decodes the frames that a client sends on a websocket (RFC 6455, section 5).

Hypercorn comes with wsproto, which does the same. This is several times faster, counts the
size of a message in bytes, and never inflates more of a compressed one than is allowed.
"""

from collections.abc import Callable
from typing import NamedTuple

from sharechat.domain.outcomes import BAD_FRAME, NOT_UTF8, TOO_LARGE, Close
from sharechat.net.deflate import Deflate, Inflater
from sharechat.net.frames import CLOSE, PING, PONG, TEXT
from sharechat.net.message import Message, Text, ViolationError, to_text

_CONTINUATION = 0x0
_BINARY = 0x2

_FIN = 0x80
_COMPRESSED = 0x40
_RESERVED = 0x70

_MOST_INFLATED = 1 << 16
"""Bytes of inflated text after which `feed` stops: 8 KiB on the wire may hold megabytes."""

# The codes that a client may send (RFC 6455, section 7.4, and its registry).
_CODES = frozenset((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014))


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

    `agreed` is the compression that the handshake has agreed on, if any. A message may have
    `max_bytes`. Binary messages are text, too: UTF-8, or what `binary` makes of one.

    A fragment costs nothing besides its bytes, so a message may have any number of them.
    """

    def __init__(
        self,
        agreed: Deflate | None,
        max_bytes: int,
        *,
        binary: Callable[[bytes], str] | None = None,
    ) -> None:
        self._inflater = Inflater(agreed) if agreed else None
        self._max_bytes = max_bytes
        # Deflate lengthens what cannot be compressed, by a few bytes for each of its blocks.
        self._max_compressed = max_bytes + max_bytes // 16 + 64
        self._binary = binary
        self._buffer = b""
        # The message whose end has not come yet.
        self._message: Message | None = None
        # The data frame that has come in part: what is left of it, its mask from there on, and
        # whether it is the message's last.
        self._missing = 0
        self._mask = b""
        self._last = False
        self._inflated = 0
        self.overhead = 0
        """How many frames that `feed` has taken cost work and carry no text."""
        self.ponged = False
        """Set when a pong has come; whoever acts on it unsets it."""
        self.behind = False
        """Whether `feed` has stopped before the end of its bytes. To be read only."""

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes; return the events that are complete now, in order.

        After much inflated text it stops and leaves the rest for the next call, which may be
        without new bytes; `behind` tells. A CloseFrame or a Violation is the last event; nothing
        may be fed afterwards. A message that is not UTF-8 or is too large is a Violation as soon as
        that is certain.
        """
        events: list[Event] = []
        try:
            self._feed(data, events)
        except ViolationError as error:
            events.append(Violation(error.close))
        return events

    def _feed(self, data: bytes, events: list[Event]) -> None:
        buffer = self._buffer + data if self._buffer else data
        position, end = 0, len(buffer)
        self._inflated = 0
        self.behind = False
        event: Event | None
        while end - position >= 2 or (self._missing and end > position):
            if self._missing:
                start, position = position, min(end, position + self._missing)
                event = self._take_part(buffer[start:position])
            else:
                first, second = buffer[position], buffer[position + 1]
                if not second & 0x80:  # A client must mask (section 5.1).
                    raise ViolationError(BAD_FRAME)
                length = second & 0x7F
                start = position + 6
                if length >= 126:
                    start += 2 if length == 126 else 8
                    if end < start:
                        self._check(first, 126 if length == 126 else 1 << 16)
                        break
                    length = _long_length(buffer[position + 2 : start - 4])
                self._check(first, length)
                if end - start < length:
                    if end < start or first & 0x0F >= CLOSE:
                        break
                    self._begin_part(first, length, buffer[start - 4 : start])
                    position = start
                    continue
                position = start + length
                payload = _unmask(buffer[start - 4 : start], buffer[start:position])
                event = self._take(first, payload)
            if event is not None:
                events.append(event)
                if isinstance(event, CloseFrame):
                    return
                if self._inflated >= _MOST_INFLATED:
                    break
        self.behind = self._inflated >= _MOST_INFLATED
        self._buffer = buffer[position:]

    def _check(self, first: int, length: int) -> None:
        """Refuse a frame by its header, before its payload has come."""
        opcode = first & 0x0F
        if opcode >= CLOSE:
            # Control frames are short and whole (section 5.5).
            if first & 0xF0 != _FIN or length > 125 or opcode not in (CLOSE, PING, PONG):
                raise ViolationError(BAD_FRAME)
            return
        message = self._message
        if opcode not in (_CONTINUATION, TEXT, _BINARY) or (opcode != _CONTINUATION) != (
            message is None
        ):
            raise ViolationError(BAD_FRAME)
        # RSV1 tells that a message is compressed; only its first frame has it.
        allowed = _COMPRESSED if self._inflater and message is None else 0
        if first & _RESERVED & ~allowed:
            raise ViolationError(BAD_FRAME)
        if message is not None:
            compressed, length = message.inflater is not None, message.size + length
        else:
            compressed = bool(first & _COMPRESSED)
        if length > (self._max_compressed if compressed else self._max_bytes):
            raise ViolationError(TOO_LARGE)

    def _take(self, first: int, payload: bytes) -> Event | None:
        opcode = first & 0x0F
        if opcode >= CLOSE or not (payload or first & _FIN):
            self.overhead += 1
        if opcode == PING:
            return Ping(payload)
        if opcode == PONG:
            self.ponged = True
            return None
        if opcode == CLOSE:
            return _close_frame(payload)
        if first == _FIN | TEXT:  # Nearly all messages are one such frame.
            return to_text(payload)
        self._begin(first)
        return self._add(payload, last=bool(first & _FIN))

    def _begin_part(self, first: int, length: int, mask: bytes) -> None:
        self._begin(first)
        self._missing = length
        self._mask = mask
        self._last = bool(first & _FIN)

    def _take_part(self, part: bytes) -> Text | None:
        payload = _unmask(self._mask, part)
        self._missing -= len(part)
        turn = len(part) % 4
        self._mask = self._mask[turn:] + self._mask[:turn]
        return self._add(payload, last=self._last and not self._missing)

    def _begin(self, first: int) -> None:
        opcode = first & 0x0F
        if opcode != _CONTINUATION:
            inflater = self._inflater if first & _COMPRESSED else None
            decode = None if opcode == TEXT else self._binary
            self._message = Message(inflater, self._max_bytes, decode)

    def _add(self, payload: bytes, *, last: bool) -> Text | None:
        message = self._message
        assert message is not None
        if not last:
            message.add(payload)
            return None
        self._message = None
        text = message.finish(payload)
        if message.inflater is not None:
            self._inflated += text.size
        return text


def _long_length(field: bytes) -> int:
    """Return a length from a field of 2 or 8 bytes (section 5.2)."""
    length = int.from_bytes(field, "big")
    # A length has its shortest form, and its first bit is 0.
    if length < (126 if len(field) == 2 else 1 << 16) or length >> 63:
        raise ViolationError(BAD_FRAME)
    return length


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
            raise ViolationError(BAD_FRAME)
        try:
            payload[2:].decode()
        except UnicodeDecodeError:
            raise ViolationError(NOT_UTF8) from None
    return CloseFrame(payload)
