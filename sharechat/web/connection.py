"""The Connection over a Transport: the websocket protocol without anything in between."""

from collections import deque
from collections.abc import Sequence

import trio
from wsproto.connection import Connection as Protocol
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import server_extensions_handshake
from wsproto.utilities import split_comma_header

from sharechat.errors import ConnectionClosedError
from sharechat.messages import Batch
from sharechat.outcomes import BAD_FRAME, NOT_UTF8, TOO_LARGE, Close
from sharechat.web.frames import PING, close_frame, frame, text_frames
from sharechat.web.transport import STALL_TIMEOUT, Transport

PING_INTERVAL = 20
SILENCE = 60
"""Seconds without a byte, while we would read one, after which a peer counts as dead."""

CLOSE_TIMEOUT = 1
"""Seconds that a closing handshake may take."""

_READ = 1 << 16
_READ_COMPRESSED = 1 << 12
"""Deflate packs a thousand to one: so little is inflated at a time that a bomb is a bang."""

_MAX_FRAGMENTS = 1024
_MAX_CONTROL = 4096
"""Bytes of control frames that wait for a peer that does not read; more are dropped."""

_NORMAL = Close(CloseReason.NORMAL_CLOSURE, "", True)
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class DirectConnection:
    """See `sharechat.ports.Connection`. The Transport must have been taken over.

    `offers` is the client's Sec-WebSocket-Extensions, which hypercorn has agreed to as
    wsproto does; the same is done here, to understand what the client sends.
    """

    def __init__(self, transport: Transport, offers: str, max_message_bytes: int) -> None:
        extensions: list[Extension] = [PerMessageDeflate()]
        agreed = server_extensions_handshake(split_comma_header(offers.encode()), extensions)
        self._transport = transport
        self._protocol = Protocol(ConnectionType.SERVER, extensions if agreed else [])
        self._read_size = _READ_COMPRESSED if agreed else _READ
        self._max_message_bytes = max_message_bytes
        self._texts: deque[str] = deque()
        self._fragments: list[str | bytes | bytearray] = []
        self._size = 0
        self._ping_at = trio.current_time() + PING_INTERVAL
        self._violation: Close | None = None
        self._peer_gone = False
        self._peer_closed: CloseConnection | None = None
        self._closing = False
        # What a write that was begun has left: nothing may come before it.
        self._rest: memoryview | None = None
        self._begun: Batch | None = None
        self._control = b""
        self._sending = False

    async def receive(self) -> str:
        if self._texts:
            await trio.lowlevel.checkpoint()
            return self._texts.popleft()
        # While we did not read, the peer could not show that it lives.
        heard_at = trio.current_time()
        while not self._texts:
            if self._violation or self._peer_gone or self._peer_closed:
                raise ConnectionClosedError
            now = trio.current_time()
            if now >= heard_at + SILENCE:
                self._transport.abort()
                self._peer_gone = True
                continue
            if now >= self._ping_at:
                self._ping_at = now + PING_INTERVAL
                self._send_control(frame(PING, b""))
            with trio.move_on_at(min(self._ping_at, heard_at + SILENCE)):
                await self._fill()
                heard_at = trio.current_time()
        return self._texts.popleft()

    async def _fill(self) -> None:
        """Read once, and sort out what came."""
        try:
            data = await self._transport.read(self._read_size)
        except _GONE:
            data = b""
        if not data:
            self._peer_gone = True
            return
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            if isinstance(event, TextMessage | BytesMessage):
                self._collect(event)
            elif isinstance(event, Ping):
                self._send_control(self._protocol.send(event.response()))
            elif isinstance(event, CloseConnection):
                if self._protocol.state is ConnectionState.REMOTE_CLOSING:
                    self._peer_closed = event
                else:
                    utf8 = event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA
                    self._violation = NOT_UTF8 if utf8 else BAD_FRAME
            if self._violation:
                break

    def _collect(self, event: TextMessage | BytesMessage) -> None:
        """Add a fragment to the message that it belongs to."""
        data = event.data
        self._fragments.append(data)
        self._size += len(data.encode()) if isinstance(data, str) else len(data)
        if self._size > self._max_message_bytes or len(self._fragments) > _MAX_FRAGMENTS:
            self._violation = TOO_LARGE
        elif event.message_finished:
            whole = self._fragments
            self._fragments, self._size = [], 0
            if isinstance(data, str):
                self._texts.append(data if len(whole) == 1 else "".join(whole))  # type: ignore[arg-type]
                return
            try:
                self._texts.append(b"".join(whole).decode())  # type: ignore[arg-type]
            except UnicodeDecodeError:
                self._violation = NOT_UTF8

    def send_nowait(self, batch: Batch) -> None:
        if self._rest or self._control or self._sending:
            raise trio.WouldBlock
        data = batch.once(text_frames)
        try:
            rest = self._transport.write_nowait(data)
        except _GONE:
            raise ConnectionClosedError from None
        if rest is None:
            return
        if len(rest) < len(data):
            self._rest, self._begun = rest, batch
        raise trio.WouldBlock

    async def send(self, batches: Sequence[Batch]) -> None:
        frames = [batch.once(text_frames) for batch in batches if batch is not self._begun]
        self._begun = None
        self._sending = True
        try:
            await self._write(b"".join(frames))
        except _GONE:
            raise ConnectionClosedError from None
        finally:
            self._sending = False

    async def _write(self, data: bytes) -> None:
        """Write what is left from before, then `data`; whatever is not written is kept."""
        data = b"".join((self._rest or b"", self._control, data))
        self._control = b""
        self._rest = self._transport.write_nowait(data)
        await trio.lowlevel.checkpoint()
        while self._rest:
            with trio.move_on_after(STALL_TIMEOUT) as stall:
                await self._transport.wait_writable()
            if stall.cancelled_caught:
                self._transport.abort()
            self._rest = self._transport.write_nowait(self._rest)

    def _send_control(self, data: bytes) -> None:
        """Send a control frame now, or between two others."""
        if self._rest or self._sending:
            if len(self._control) < _MAX_CONTROL:
                self._control += data
            return
        try:
            self._rest = self._transport.write_nowait(data)
        except _GONE:
            self._peer_gone = True

    async def aclose(self, close: Close | None = None) -> None:
        if self._closing:
            await trio.lowlevel.checkpoint()
            return
        self._closing = True
        in_order = False
        with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
            try:
                if not self._peer_gone:
                    await self._shake_hands(self._violation or close or _NORMAL)
                in_order = True
            except _GONE:
                pass  # It went in the meantime.
        if not in_order:
            self._transport.abort()
        self._transport.end()

    async def _shake_hands(self, close: Close) -> None:
        """Say goodbye, or answer the peer's (RFC 6455, section 7)."""
        if self._peer_closed:
            await self._write(self._protocol.send(self._peer_closed.response()))
            return
        await self._write(close_frame(close.code, close.reason))
        self._transport.shut_write()
        # Closing a socket with something unread resets it, and the peer might never see why.
        while await self._transport.read(_READ):
            pass
