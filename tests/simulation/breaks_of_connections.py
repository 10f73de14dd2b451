"""Faults in the DirectConnection and its Transport, and in their use: see `breaks.py`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import cast
from unittest import mock

import trio

from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import NORMAL, Close
from sharechat.net import direct_connection
from sharechat.net.decoder import CloseFrame
from sharechat.net.direct_connection import DirectConnection
from sharechat.net.frames import CLOSE, PING, close_frame, frame, next_boundary
from sharechat.net.transport import Transport


def cut_frame() -> AbstractContextManager[object]:
    """What waits is dropped on closing although a frame has been begun."""
    return mock.patch.object(direct_connection, "next_boundary", lambda frames, position: position)


def lost_rest() -> AbstractContextManager[object]:
    """What the kernel does not take of a write is lost."""
    write = Transport.write

    def write_once(self: Transport, data: bytes) -> None:
        waited = self.backlog
        write(self, data)
        if not waited:
            self._outgoing.clear()
            self.backlog = 0

    return mock.patch.object(Transport, "write", write_once)


def doubled_rest() -> AbstractContextManager[object]:
    """A write of which the kernel takes a part is sent again as a whole."""
    write = Transport.write

    def write_again(self: Transport, data: bytes) -> None:
        waited = self.backlog
        write(self, data)
        if self._outgoing and not waited:
            self._outgoing[0] = memoryview(data)
            self.backlog = len(data)

    return mock.patch.object(Transport, "write", write_again)


def overtaking_write() -> AbstractContextManager[object]:
    """A control frame is sent at once, before the rest of a frame that waits."""
    send_control = DirectConnection._send_control

    def send(self: DirectConnection, data: bytes = b"") -> None:
        transport = self._transport
        waiting, transport._outgoing = transport._outgoing, []
        send_control(self, data)
        transport._outgoing += waiting

    return mock.patch.object(DirectConnection, "_send_control", send)


def backlog_count() -> AbstractContextManager[object]:
    """What has been flushed is still counted as waiting."""
    flush = Transport.flush

    def flush_uncounted(self: Transport) -> None:
        before = self.backlog
        flush(self)
        self.backlog = before

    return mock.patch.object(Transport, "flush", flush_uncounted)


def impatient_drain() -> AbstractContextManager[object]:
    """A client is aborted if the kernel does not report room, however steadily it reads."""

    async def drain(self: Transport, stall_timeout: float | None = None) -> None:
        await trio.lowlevel.checkpoint()
        while self._outgoing:
            self._check()
            with trio.move_on_after(stall_timeout or self._stall_timeout) as stall:
                await trio.lowlevel.wait_writable(self.socket)
            if stall.cancelled_caught:
                self.abort()
                raise trio.BrokenResourceError
            self.flush()

    return mock.patch.object(Transport, "drain", drain)


def stolen_progress() -> AbstractContextManager[object]:
    """What others flush while a client is drained is not progress."""
    flush = Transport.flush

    def flush_unnoticed(self: Transport) -> None:
        before = self._flushed
        flush(self)
        if trio.lowlevel.current_task().name.endswith("Heartbeat.run"):
            self._flushed = before

    return mock.patch.object(Transport, "flush", flush_unnoticed)


def endless_silence() -> AbstractContextManager[object]:
    """A client that is silent for too long is not taken for dead."""
    beat = DirectConnection.beat

    def beat_only(self: DirectConnection, now: float) -> None:
        self._silence = None
        beat(self, now)

    return mock.patch.object(DirectConnection, "beat", beat_only)


def no_pings() -> AbstractContextManager[object]:
    """Clients are not pinged, and those that say nothing are taken for dead."""
    send_control = DirectConnection._send_control

    def send(self: DirectConnection, data: bytes = b"") -> None:
        send_control(self, b"" if data == frame(PING, b"") else data)

    return mock.patch.object(DirectConnection, "_send_control", send)


def overtaking_close() -> AbstractContextManager[object]:
    """The close frame is sent before what waits, which then follows it."""

    def keep(self: Transport, boundary: Callable[[bytes, int], int]) -> None:
        first = self._outgoing[0] if self._outgoing else memoryview(b"")
        frames = cast(bytes, first.obj)
        end = boundary(frames, len(frames) - len(first))
        self._outgoing[:1] = [first[: len(first) - len(frames) + end]]
        self._outgoing.insert(1, memoryview(close_frame(NORMAL.code, "")))

    return mock.patch.object(Transport, "drop_unsent", keep)


def unanswered_close() -> AbstractContextManager[object]:
    """The close frame of a client is not answered."""
    shake_hands = DirectConnection._shake_hands

    async def shake(self: DirectConnection, close: Close) -> None:
        if not isinstance(self._end, CloseFrame):
            await shake_hands(self, close)

    return mock.patch.object(DirectConnection, "_shake_hands", shake)


def hasty_answer() -> AbstractContextManager[object]:
    """The socket is closed as soon as a client's close frame has been answered."""
    shake_hands = DirectConnection._shake_hands

    async def shake(self: DirectConnection, close: Close) -> None:
        if isinstance(self._end, CloseFrame):
            self._transport.drop_unsent(next_boundary)
            self._transport.write(frame(CLOSE, self._end.payload))
            await self._transport.drain(self._close_timeout)
        else:
            await shake_hands(self, close)

    return mock.patch.object(DirectConnection, "_shake_hands", shake)


def close_code() -> AbstractContextManager[object]:
    """Whatever the reason, a client is told that the connection ends normally."""
    shake_hands = DirectConnection._shake_hands

    async def shake(self: DirectConnection, close: Close) -> None:
        await shake_hands(self, NORMAL)

    return mock.patch.object(DirectConnection, "_shake_hands", shake)


def hasty_close() -> AbstractContextManager[object]:
    """The socket is closed as soon as the close frame is written, whatever still comes."""

    async def close_at_once(self: Transport, linger: float) -> None:
        self.abort()
        await trio.lowlevel.checkpoint()

    return mock.patch.object(Transport, "aclose", close_at_once)


def lost_end() -> AbstractContextManager[object]:
    """What a client said before it went is dropped if it was read ahead of being received."""
    receive = DirectConnection.receive

    async def receive_or_raise(self: DirectConnection) -> str:
        if self.gone:
            raise ConnectionClosedError
        return await receive(self)

    return mock.patch.object(DirectConnection, "receive", receive_or_raise)


def failed_ping() -> AbstractContextManager[object]:
    """What a client said before it went is not read if a control frame could not be sent."""
    send_control = DirectConnection._send_control

    def send(self: DirectConnection, data: bytes = b"") -> None:
        send_control(self, data)
        self.gone = self.gone or self._peer_gone

    return mock.patch.object(DirectConnection, "_send_control", send)
