"""A websocket client that builds its own frames, valid or not, and parses with wsproto."""

import base64
import os
import zlib
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Event, Pong, TextMessage
from wsproto.extensions import Extension
from wsproto.frame_protocol import Opcode

from tests.harness.deadline import DEADLINE
from tests.harness.sockets import reset_on_close
from tests.harness.tls import ClientStream, open_tls

FIN = 0x80
COMPRESSED = 0x40


def frame(opcode: int, payload: bytes, *, flags: int = FIN, mask: bool = True) -> bytes:
    """Return one client frame, valid or not."""
    size = len(payload)
    if size < 126:
        head = bytes((flags | opcode, size | mask << 7))
    elif size < 1 << 16:
        head = bytes((flags | opcode, 126 | mask << 7)) + size.to_bytes(2, "big")
    else:
        head = bytes((flags | opcode, 127 | mask << 7)) + size.to_bytes(8, "big")
    # A masking key of zeros is legal, and leaves the payload as it is.
    return head + b"\0\0\0\0" * mask + payload


def text(message: str | bytes) -> bytes:
    return frame(Opcode.TEXT, message.encode() if isinstance(message, str) else message)


def compressed(message: bytes, opcode: int = Opcode.TEXT) -> bytes:
    """Return a message compressed by permessage-deflate (RFC 7692, section 7.2.1)."""
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return frame(opcode, data.removesuffix(b"\x00\x00\xff\xff"), flags=FIN | COMPRESSED)


def upgrade(path: str, headers: Sequence[str] = (), *, key: bool = True) -> bytes:
    """Return the request that starts a websocket handshake."""
    random = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        *([] if any(line.startswith("Host") for line in headers) else ["Host: localhost"]),
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        *([f"Sec-WebSocket-Key: {random}"] if key else []),
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


_sockets: list[trio.socket.SocketType] = []


def close_all() -> None:
    """Close every socket left open, so that a failed test does not make the next one fail."""
    while _sockets:
        fd = _sockets.pop().detach()
        if fd >= 0:
            os.close(fd)


class Peer:
    """The client's end of a websocket that is past the handshake."""

    def __init__(self, stream: ClientStream, extensions: Sequence[Extension] = ()) -> None:
        self.stream = stream
        _sockets.append(stream.socket)
        self._protocol = Connection(ConnectionType.CLIENT, list(extensions))
        self._events: deque[Event] = deque()
        self.answer = ""
        """The head of the response to the handshake."""
        self.early = b""
        """Bytes that arrived together with the response to the handshake."""

    @classmethod
    async def open(cls, url: str, *headers: str) -> Self:
        """Open a websocket over TCP, and over TLS if `url` begins with wss."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        with trio.fail_after(DEADLINE):
            peer = cls(
                await open_tls(parts.port)
                if parts.scheme == "wss"
                else await trio.open_tcp_stream(parts.hostname, parts.port)
            )
            await peer.stream.send_all(upgrade(parts.path, headers))
            head, rest = await peer.response()
            assert head.startswith("HTTP/1.1 101 "), head
            peer.answer, peer.early = head, rest
            peer._protocol.receive_data(rest)
        return peer

    async def response(self) -> tuple[str, bytes]:
        """Return the head of an HTTP response, and the bytes that followed it so far.

        The head is what has arrived if the connection ends before it is complete.
        """
        received = b""
        with trio.fail_after(DEADLINE):
            while b"\r\n\r\n" not in received:
                data = await self.stream.receive_some()
                if not data:
                    break
                received += data
        head, _, rest = received.partition(b"\r\n\r\n")
        return head.decode("latin-1"), rest

    async def send(self, data: bytes) -> None:
        with trio.fail_after(DEADLINE):
            await self.stream.send_all(data)

    async def try_to_send(self, data: bytes) -> None:
        """Send, unless the server ends the connection first."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.send(data)

    async def hear(self) -> Event:
        """Return the next event. Raises EndOfChannel at the end, BrokenResourceError on a reset.

        The pieces of a message that arrives in parts are separate events.
        """
        with trio.fail_after(DEADLINE):
            while not self._events:
                self._events.extend(self._protocol.events())
                if self._events:
                    break
                data = await self.stream.receive_some()
                if not data:
                    raise trio.EndOfChannel
                self._protocol.receive_data(data)
        return self._events.popleft()

    async def hear_text(self) -> str:
        """Return the next text message, once it is complete."""
        pieces = []
        while True:
            event = await self.hear()
            assert isinstance(event, TextMessage), event
            pieces.append(event.data)
            if event.message_finished:
                return "".join(pieces)

    async def hear_pong(self) -> bytes:
        """Return the payload of the next pong, skipping texts."""
        while not isinstance(event := await self.hear(), Pong):
            assert isinstance(event, TextMessage), event
        return bytes(event.payload)

    async def hear_close(self) -> CloseConnection:
        """Return the close frame, skipping everything before it."""
        while not isinstance(event := await self.hear(), CloseConnection):
            pass
        return event

    async def ends(self) -> bool:
        """Read to the end; return whether the connection ended with a FIN, not with a reset."""
        try:
            while True:
                await self.hear()
        except trio.EndOfChannel:
            return True
        except trio.BrokenResourceError:
            return False

    def drop(self) -> None:
        """Reset the connection, without a closing handshake."""
        reset_on_close(self.stream)
        self.stream.socket.close()
