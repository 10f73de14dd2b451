"""One accepted TCP connection: a socket and the buffer of what it has yet to send."""

import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import trio

STALL_TIMEOUT = 10
"""Seconds without any progress after which `drain` aborts the connection."""

LONGEST_LINGER = 10
"""Seconds that `aclose` takes at most."""

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
"""What every method raises once there is no peer to speak to, or no socket."""

_MOST_CHUNKS = 64
"""How many pieces of the buffer go into one system call."""


class Transport:
    """A non-blocking socket with one outgoing buffer.

    `write` never waits: what the kernel does not take stays in the buffer, in order, and
    `drain` waits until it has gone. One task at a time may read, and one may drain.

    Methods raise BrokenResourceError once the peer has gone, and ClosedResourceError once
    `close` or `abort` has been called.
    """

    secure = False
    """Whether it is encrypted."""

    def __init__(self, sock: socket.socket, *, stall_timeout: float = STALL_TIMEOUT) -> None:
        self.socket = sock
        self.closing = False
        """Whether the write side has been shut."""
        self.closed = False
        self._stall_timeout = stall_timeout
        self.backlog = 0
        """How many bytes wait in the buffer. To be read only."""
        self._flushed = 0
        # Bytes at the head of the buffer that must follow what has gone, whatever is dropped.
        self._begun = 0
        # A list, since an empty deque takes 600 bytes more, for each idle member.
        self._outgoing: list[memoryview] = []

    async def wait_readable(self) -> None:
        """Wait until `read_nowait` has something to return. Cancelling changes nothing."""
        self._check()
        await trio.lowlevel.wait_readable(self.socket)

    def read_nowait(self, max_bytes: int) -> bytes:
        """Return what has come, b"" at its end. Raises WouldBlock if nothing has."""
        self._check()
        try:
            return self.socket.recv(max_bytes)
        except BlockingIOError:
            raise trio.WouldBlock from None
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    def is_at_end(self) -> bool:
        """Return whether the peer has closed the connection, and there is nothing left to read.

        Takes nothing out of the socket. With TLS, an end that the peer announces (close_notify)
        is something left to read.
        """
        try:
            # The method of an SSLSocket takes no flags.
            return not socket.socket.recv(self.socket, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def read(self, max_bytes: int) -> bytes:
        """Wait for bytes and return them, b"" at the end. Cancelling loses nothing."""
        while True:
            # There nearly always is nothing yet, so trying first would cost a system call.
            await self.wait_readable()
            try:
                return self.read_nowait(max_bytes)
            except trio.WouldBlock:
                continue

    def write(self, data: bytes) -> None:
        """Send `data` as far as that is possible now, and put the rest into the buffer."""
        if self.closed:
            raise trio.ClosedResourceError
        sent = 0
        if not self._outgoing:
            try:
                sent = self.socket.send(data)
            except BlockingIOError:
                pass
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
        if sent < len(data):
            self._outgoing.append(memoryview(data)[sent:])
            self.backlog += len(data) - sent

    def flush(self) -> None:
        """Send as much of the buffer as is possible now."""
        self._check()
        while self._outgoing:
            chunks = self._outgoing[:_MOST_CHUNKS]
            try:
                sent = self.socket.sendmsg(chunks)
            except BlockingIOError:
                return
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error
            self._remove(sent)
            if sent < sum(map(len, chunks)):
                return

    def _remove(self, sent: int) -> None:
        """Remove the first `sent` bytes from the buffer, since they have gone."""
        self.backlog -= sent
        self._flushed += sent
        for index, chunk in enumerate(self._outgoing):
            if sent < len(chunk):
                self._outgoing[: index + 1] = [chunk[sent:]]
                return
            sent -= len(chunk)
        self._outgoing.clear()

    def drop_unsent(self, boundary: Callable[[bytes, int], int]) -> None:
        """Drop what waits in the buffer, except for the rest of a frame that has been begun.

        `boundary(frames, sent)` returns where that frame ends.
        """
        kept = []
        begun = self._begun
        for chunk in self._outgoing:
            frames = cast(bytes, chunk.obj)
            sent = len(frames) - len(chunk)
            if rest := chunk[: boundary(frames, min(sent + begun, len(frames))) - sent]:
                kept.append(rest)
            begun -= len(chunk)
            if begun <= 0:
                break
        self._outgoing = kept
        self.backlog = sum(map(len, kept))

    async def drain(self, stall_timeout: float | None = None) -> None:
        """Wait until the buffer is empty.

        Aborts the connection, and raises BrokenResourceError, if nothing at all could be sent
        for `stall_timeout` seconds. Cancelling loses nothing: the next call goes on.
        """
        if stall_timeout is None:
            stall_timeout = self._stall_timeout
        if not self._outgoing:
            await trio.lowlevel.checkpoint()
            return
        while self._outgoing:
            self._check()
            before = self._flushed
            with trio.move_on_after(stall_timeout) as stall:
                await trio.lowlevel.wait_writable(self.socket)
            self.flush()
            # The kernel reports "writable" only when a third of its buffer is free, which may
            # be a megabyte; for a slow reader it is progress if anything fits, now or when
            # another task flushed meanwhile.
            if stall.cancelled_caught and self._outgoing and self._flushed == before:
                self.abort()
                raise trio.BrokenResourceError("the peer does not read")

    def shut_write(self) -> None:
        """Tell the peer that nothing more comes; what the kernel holds is still delivered."""
        if not (self.closing or self.closed):
            self.closing = True
            with suppress(OSError):  # The peer may have closed first.
                self.socket.shutdown(socket.SHUT_WR)

    async def aclose(self, linger: float) -> None:
        """Shut the write side, wait for the peer to read everything and to close, and close.

        Waits up to `linger` seconds, and again while the peer has read something but not yet
        everything, for LONGEST_LINGER in all. A peer that has not read everything by then is
        reset; if cancelled, the socket is closed at once. A socket that is closed with
        something unread is reset, too, and then the peer may never see what was written; so
        what still comes is read and dropped.
        """
        if self.closed:
            await trio.lowlevel.checkpoint()
            return
        try:
            self.shut_write()
            peer_closed = False
            with trio.move_on_after(LONGEST_LINGER):
                peer_closed = await self._await_peer(linger)
            if not peer_closed and self._unread_by_peer():
                self.abort()
        finally:
            self.close()

    async def _await_peer(self, linger: float) -> bool:
        """Drop what comes for as long as `aclose` waits; return whether the peer has closed."""
        unread = self._unread_by_peer()
        while True:
            with trio.move_on_after(linger) as patience, suppress(*GONE):
                while await self.read(1 << 16):
                    pass
            if not patience.cancelled_caught:
                return True
            before, unread = unread, self._unread_by_peer()
            if not 0 < unread < before:
                return False

    def _unread_by_peer(self) -> int:
        """Return how many bytes the kernel holds that the peer has not acknowledged.

        Returns 0 if another task has closed the socket, or if the system does not tell.
        """
        if self.closed:
            return 0
        try:
            held = fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4))
        except OSError:
            return 0
        return int.from_bytes(held, sys.byteorder)

    def close(self) -> None:
        """Close the socket; what the kernel holds is still delivered. May be called again.

        Every task that waits for the socket is woken, and raises ClosedResourceError.
        """
        if not self.closed:
            self.closed = True
            self._outgoing.clear()
            self.backlog = 0
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    def abort(self) -> None:
        """Close the socket with a reset, dropping what the kernel holds; else like `close`."""
        if not self.closed:
            with suppress(OSError):  # The peer may have closed first.
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def _check(self) -> None:
        if self.closed:
            raise trio.ClosedResourceError
