"""The Connection over a Transport: the websocket protocol with nothing in between."""

from collections import deque

import trio

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import NORMAL, TOO_MANY_FRAMES, Close
from sharechat.domain.telemetry import SILENT, Telemetry
from sharechat.domain.token_bucket import TokenBucket
from sharechat.net.decoder import CloseFrame, Decoder, Ping, Violation
from sharechat.net.frames import (
    CLOSE,
    NO_CLOSE_FRAME,
    NO_CODE,
    PING,
    PONG,
    close_frame,
    frame,
    next_boundary,
    text_frames,
)
from sharechat.net.message import Text
from sharechat.net.transport import GONE, Transport

PING_INTERVAL = 20
"""Seconds between two pings."""

SILENCE = 60
"""Seconds without a byte, while we would read one, after which a peer counts as dead.

Counted by `beat`: a process that was frozen has not heard what its peers sent meanwhile.
"""

CLOSE_TIMEOUT = 1
"""Seconds that a closing handshake may go on without any progress."""

LONGEST_CLOSE = 10
"""Seconds that a closing handshake may take in all."""

BUFFER = 1 << 16
"""Bytes that may wait in the buffer before `offer` returns False."""

_MOST_CONTROL = 4096
"""Bytes past BUFFER that control frames may take up; more of them are dropped."""

MAX_HELD_BACK = 1 << 18
"""Bytes of memory that the texts of a client that is held back may take; then its socket is
not read."""

_TEXT_OVERHEAD = 100
"""Bytes of memory that a text takes besides its own, about."""

CONTROL_RATE = 50
"""Control frames and empty fragments a second that a client may send, after a burst."""

CONTROL_BURST = 500

_READ = 1 << 13
"""Bytes taken up in one turn: few, so that a client that floods makes nobody else wait."""


class DirectConnection:
    """See `sharechat.domain.ports.Connection`. From now on nobody else may use the Transport."""

    def __init__(
        self,
        transport: Transport,
        decoder: Decoder,
        *,
        close_timeout: float = CLOSE_TIMEOUT,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._transport = transport
        self._decoder = decoder
        self._close_timeout = close_timeout
        self._telemetry = telemetry
        self._texts: deque[Text] = deque()
        self.held_back = 0
        """Bytes of memory of the texts that have been read and not been received, about."""
        self._control_bucket = TokenBucket(CONTROL_RATE, CONTROL_BURST)
        self.gone = False
        # Why there will be no more texts; None as well if the peer has gone without a word.
        self._end: CloseFrame | Violation | None = None
        self._peer_gone = False
        self._closing = False
        self._ping_at = trio.current_time() + PING_INTERVAL
        # When the ping was sent that the client has yet to answer, by the clock of telemetry.
        self._pinged: float | None = None
        # How often `beat` was called since the peer was last heard; None while we do not read,
        # since the peer cannot show then that it lives.
        self._silence: int | None = None

    async def receive(self) -> str:
        if self._texts:
            await trio.lowlevel.checkpoint()
        while not self._texts:
            if self.gone:
                raise ConnectionClosedError
            await self._read()
        text, size = self._texts.popleft()
        self.held_back -= size + _TEXT_OVERHEAD
        return text

    async def pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while not self.gone and self.held_back < MAX_HELD_BACK:
                await self._read()
            if not self.gone:
                await trio.sleep_forever()

    async def _read(self) -> None:
        """Wait for a portion of bytes, or go on with the last one, and take it up."""
        if self._decoder.behind:
            await trio.lowlevel.checkpoint()
            self._take(b"")
            return
        self._silence = 0
        try:
            data = await self._transport.read(_READ)
        except GONE:
            data = b""
        finally:
            self._silence = None
        if not data:
            self.gone = self._peer_gone = True
        self._take(data)

    def _take(self, data: bytes) -> None:
        ping = None
        for event in self._decoder.feed(data):
            match event:
                case Text():
                    self._texts.append(event)
                    self.held_back += event.size + _TEXT_OVERHEAD
                case Ping():
                    ping = event
                case CloseFrame() | Violation():
                    self._end_with(event)
        if overhead := self._decoder.overhead:
            self._decoder.overhead = 0
            if self._decoder.ponged:
                self._take_pong()
            now = trio.current_time()
            if any(self._control_bucket.take(now) > 0 for _ in range(overhead)):
                self._end_with(Violation(TOO_MANY_FRAMES))
                return
        if ping is not None:
            # One pong may answer several pings (RFC 6455, section 5.5.3). A read may hold
            # thousands of them, and a write for each would make every other client wait.
            self._send_control(frame(PONG, ping.payload))

    def _take_pong(self) -> None:
        self._decoder.ponged = False
        if self._pinged is not None:  # A client may send a pong unasked.
            self._telemetry.answered_ping(self._telemetry.clock() - self._pinged)
            self._pinged = None

    def _end_with(self, end: CloseFrame | Violation) -> None:
        self.gone = True
        self._end = self._end or end

    def offer(self, batch: Batch) -> bool:
        if self._closing:  # No data frame may follow the close frame (RFC 6455, section 5.5.1).
            raise ConnectionClosedError
        transport = self._transport
        frames = batch.once(text_frames)
        if transport.backlog and transport.backlog + len(frames) > BUFFER:
            return False
        try:
            transport.write(frames)
        except GONE:
            raise ConnectionClosedError from None
        return True

    @property
    def backlog(self) -> int:
        return self._transport.backlog

    async def drain(self) -> None:
        try:
            await self._transport.drain()
        except GONE:
            raise ConnectionClosedError from None

    def beat(self, now: float) -> None:
        """Ping if it is time to; abort if the peer has been silent for too long."""
        if self._silence is not None:
            self._silence += 1
            if self._silence > SILENCE:
                self._transport.abort()
                return
        if now >= self._ping_at:
            self._ping_at = now + PING_INTERVAL
            self._pinged = self._telemetry.clock()
            self._send_control(frame(PING, b""))
        elif self._transport.backlog:
            # Perhaps a control frame that did not fit. In a quiet room nobody else sends it.
            self._send_control()

    def _send_control(self, data: bytes = b"") -> None:
        """Send what waits as far as possible, and then a control frame unless too much waits."""
        if self._closing:
            return
        try:
            self._transport.flush()
            if data and self._transport.backlog < BUFFER + _MOST_CONTROL:
                self._transport.write(data)
        except GONE:
            # Not `gone`: what the client sent before may still be unread.
            self._peer_gone = True

    async def aclose(self, close: Close | None = None) -> None:
        if self._closing:
            await trio.lowlevel.checkpoint()
            return
        self._closing = True
        code, by_client = self._reason_of_end(close or NORMAL)
        self._telemetry.closed(code, by_client=by_client)
        in_order = False
        with trio.move_on_after(LONGEST_CLOSE, shield=True):
            try:
                if not self._peer_gone:
                    await self._shake_hands(close or NORMAL)
                in_order = True
            except GONE:
                pass  # The peer went in the meantime.
        if in_order:
            self._transport.close()
        else:
            self._transport.abort()

    def _reason_of_end(self, close: Close) -> tuple[int, bool]:
        """Return the close code of the side that ended the connection, and whether it is the peer.

        `close` is how we would close it.
        """
        match self._end:
            case CloseFrame(payload):
                return int.from_bytes(payload[:2], "big") if payload else NO_CODE, True
            case Violation(violation):
                return violation.code, False
        if self._transport.closed:
            return NO_CLOSE_FRAME, False
        return (NO_CLOSE_FRAME, True) if self._peer_gone else (close.code, False)

    async def _shake_hands(self, close: Close) -> None:
        """Send a close frame, or answer the peer's (RFC 6455, section 7).

        What waits in the buffer is dropped: a client that is behind learns sooner why it is
        closed, and can come back for the rest.
        """
        self._transport.drop_unsent(next_boundary)
        if isinstance(self._end, CloseFrame):
            answer = frame(CLOSE, self._end.payload)
        else:
            if isinstance(self._end, Violation):
                close = self._end.close
            answer = close_frame(close.code, close.reason)
        self._transport.write(answer)
        await self._transport.drain(self._close_timeout)
        # Something may still come: a client that has sent its close frame must answer pings
        # until it has ours (RFC 6455, section 5.5.2).
        await self._transport.aclose(self._close_timeout)
