"""The frames of websockets (RFC 6455, section 5), as a client makes and reads them."""

import enum
from collections.abc import Iterator
from typing import NamedTuple

FIN = 0x80


class Opcode(enum.IntEnum):
    CONTINUATION = 0x0
    TEXT = 0x1
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


_SENT = (Opcode.TEXT, Opcode.CLOSE, Opcode.PING, Opcode.PONG)
"""What this server sends; it splits nothing."""


def client_frame(opcode: int, payload: bytes, mask: bytes, flags: int = FIN) -> bytes:
    """Return a masked frame with fewer than 64 KiB."""
    length = len(payload)
    if length < 126:
        head = bytes((flags | opcode, 0x80 | length))
    else:
        head = bytes((flags | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    masked = (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")
    return head + mask + masked


class FlawError(Exception):
    """The server has sent something that the protocol does not allow."""


class Frame(NamedTuple):
    opcode: int
    payload: bytes


class ServerFrames:
    """Turns what a server sends into frames. This server splits and compresses nothing."""

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete now. Raises FlawError."""
        self._buffer += data
        while (frame := self._first()) is not None:
            yield frame

    def _first(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, length = buffer[0], buffer[1]
        opcode, start = first & 0x0F, 2
        if first & 0xF0 != FIN or opcode not in _SENT or length > 127:
            raise FlawError(f"a frame begins with {buffer[:2].hex()}")
        if length > 125:
            if opcode != Opcode.TEXT:
                raise FlawError("a control frame is too long")
            start += 2 if length == 126 else 8
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
            if length < (126 if start == 4 else 1 << 16):
                raise FlawError("a length does not have its shortest form")
        end = start + length
        if len(buffer) < end:
            return None
        self._buffer = buffer[end:]
        return Frame(opcode, buffer[start:end])
