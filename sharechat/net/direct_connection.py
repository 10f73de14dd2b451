"""The Connection over a Transport: the websocket protocol without anything in between."""

import math
from collections import deque
from collections.abc import Sequence

import trio

from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.messages import Batch
from sharechat.domain.outcomes import Close
from sharechat.net.decoder import Decoder, Goodbye, Ping, Text, Violation
from sharechat.net.frames import CLOSE, PING, PONG, close_frame, frame, text_frames
from sharechat.net.transport import GONE, STALL_TIMEOUT, Transport

PING_INTERVAL = 20
SILENCE = 60
"""Seconds without a byte, while we would read one, after which a peer counts as dead."""

CLOSE_TIMEOUT = 1
"""Seconds that a closing handshake may take."""

_READ = 1 << 16
_MAX_CONTROL = 4096
"""Bytes of control frames that wait for a peer that does not read; more are dropped."""

_NORMAL = Close(1000, "", True)


class DirectConnection:
    """See `sharechat.domain.ports.Connection`. The Transport must have been taken over."""

    def __init__(self, transport: Transport, decoder: Decoder) -> None:
        self._transport = transport
        self._decoder = decoder
        self._texts: deque[str] = deque()
        self._violation: Close | None = None
        self._peer_gone = False
        self._goodbye: Goodbye | None = None
        self._closing = False
        self._ping_at = trio.current_time() + PING_INTERVAL
        # While we do not read, the peer cannot show that it lives.
        self._silent_since = math.inf
        # What a write that was begun has left: nothing may come before it.
        self._rest: memoryview | None = None
        self._begun: Batch | None = None
        self._control = b""
        self._sending = False

    async def receive(self) -> str:
        if self._texts:
            await trio.lowlevel.checkpoint()
            return self._texts.popleft()
        while not self._texts:
            if self._violation or self._peer_gone or self._goodbye:
                raise ConnectionClosedError
            self._silent_since = trio.current_time()
            try:
                data = await self._transport.read(_READ)
            except GONE:
                data = b""
            finally:
                self._silent_since = math.inf
            self._sort_out(data)
        return self._texts.popleft()

    def _sort_out(self, data: bytes) -> None:
        self._peer_gone = not data
        ping = None
        for event in self._decoder.feed(data):
            match event:
                case Text(text):
                    self._texts.append(text)
                case Ping():
                    ping = event
                case Goodbye():
                    self._goodbye = event
                case Violation(close):
                    self._violation = close
        if ping is not None:
            # The last of several may stand for all (RFC 6455, section 5.5.3): a write for
            # each of the thousands that fit into one read would keep everyone waiting.
            self._send_control(frame(PONG, ping.payload))

    def beat(self, now: float) -> None:
        """Ping if it is time to; abort if the peer has been silent for too long."""
        if now - self._silent_since >= SILENCE:
            self._transport.abort()
            return
        if now >= self._ping_at:
            self._ping_at = now + PING_INTERVAL
            self._send_control(frame(PING, b""))
        if self._rest and not self._sending:
            # A control frame that did not fit; in a quiet room nothing else would take it on.
            self._send_control(b"")

    def send_nowait(self, batch: Batch) -> None:
        if self._rest or self._control or self._sending:
            raise trio.WouldBlock
        data = batch.once(text_frames)
        try:
            rest = self._transport.write_nowait(data)
        except GONE:
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
            while self._control:  # It came while we waited.
                await self._write(b"")
        except GONE:
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
            size = len(self._rest)
            self._rest = self._transport.write_nowait(self._rest)
            # The kernel says "writable" only when a third of its buffer is free, which may be
            # a megabyte: whoever reads slowly has made progress if anything fits.
            if stall.cancelled_caught and self._rest and len(self._rest) == size:
                self._transport.abort()

    def _send_control(self, data: bytes) -> None:
        """Send a control frame now, or between two others."""
        if len(self._control) < _MAX_CONTROL:
            self._control += data
        if self._sending:
            return
        try:
            if self._rest:
                self._rest = self._transport.write_nowait(self._rest)
            if not self._rest and self._control:
                control, self._control = self._control, b""
                self._rest = self._transport.write_nowait(control)
        except GONE:
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
            except GONE:
                pass  # It went in the meantime.
        if in_order:
            self._transport.close()
        else:
            self._transport.abort()

    async def _shake_hands(self, close: Close) -> None:
        """Say goodbye, or answer the peer's (RFC 6455, section 7)."""
        if self._goodbye:
            await self._write(frame(CLOSE, self._goodbye.payload))
            return
        await self._write(close_frame(close.code, close.reason))
        self._transport.shut_write()
        # Closing a socket with something unread resets it, and the peer might never see why.
        while await self._transport.read(_READ):
            pass
