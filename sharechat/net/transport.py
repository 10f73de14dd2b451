"""A TCP connection that hypercorn begins and a websocket's Connection takes over."""

import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

STALL_TIMEOUT = 10
"""Seconds that a send may go without any progress before the connection is aborted."""

IDLE_TIMEOUT = 10
"""Seconds without a byte from us after which hypercorn is told that the peer has gone.

It forgets some connections that it has refused, and reads a request's body for ever. No
answer of ours takes as long, even to a request that comes five seconds after the last. What
the peer sends does not count: it might never end.
"""

PATIENCE = 14
"""Seconds without a byte from us after which hypercorn is not asked; more than STALL_TIMEOUT."""

LINGER = 1
"""Seconds that closing waits for the peer to see what was written."""

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Transport:
    """One accepted, non-blocking socket; what hypercorn's TCPServer takes for a stream.

    At first its bytes are hypercorn's, both ways: requests, responses, the handshake of a
    websocket. From `take_over` on hypercorn may send its answer to the handshake; all else
    that it does is without effect, so it can end and leave the open socket to whoever took
    over: that is to set `successor`, which `sharechat.net.acceptor` then calls.

    One task at a time may read, and one wait to write. Errors are those of
    `trio.abc.Stream`: BrokenResourceError when the peer has gone or made no progress for
    STALL_TIMEOUT seconds, ClosedResourceError after `close` or `abort`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.successor: Callable[[], Awaitable[None]] | None = None
        self._closed = False
        self._taken_over = False
        self._answered = False
        # Around hypercorn's receive, so that it can be taken off the socket.
        self._receiving = trio.CancelScope()
        self._let_go = trio.Event()
        self._early = b""
        self._moved_at = trio.current_time()
        self._lingering = False

    @property
    def stuck(self) -> bool:
        """Whether hypercorn keeps the connection though nothing has gone out for too long.

        It forgets some of whose request it has not read the end.
        """
        return not self._taken_over and trio.current_time() >= self._moved_at + PATIENCE

    # What hypercorn calls.

    async def receive_some(self, max_bytes: int) -> bytes:
        """Return what came, b"" at the end of it. Cancelling loses nothing."""
        while not (self._taken_over or self._let_go.is_set()):
            with trio.CancelScope(deadline=self._moved_at + IDLE_TIMEOUT) as self._receiving:
                data = await self.read(max_bytes)
                if not self._receiving.cancel_called:
                    return data
                self._early = data  # It came for whoever took over in this very moment.
            if trio.current_time() >= self._moved_at + IDLE_TIMEOUT:
                return b""
        await self._let_go.wait()
        return b""

    async def send_all(self, data: bytes) -> None:
        """Send everything. After a cancelled send the connection can only be closed."""
        if self._taken_over and self._answered:
            await trio.lowlevel.checkpoint()
            return
        self._answered = self._taken_over
        rest = self.write_nowait(data)
        self._moved_at = trio.current_time()
        await trio.lowlevel.checkpoint()
        while rest:
            with trio.move_on_after(STALL_TIMEOUT) as stall:
                await self.wait_writable()
            size = len(rest)
            rest = self.write_nowait(rest)
            # "Writable" means a third of the kernel's buffer; a slow reader frees less in time.
            if stall.cancelled_caught and rest and len(rest) == size:
                self.abort()
                raise trio.BrokenResourceError("the peer does not read")
            self._moved_at = trio.current_time()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._taken_over:
            self.shut_write()

    async def aclose(self) -> None:
        """Close the socket, unless it has been taken over; at once if cancelled.

        A socket that is closed with something unread is reset, and the peer might never
        see what was written: so for a moment what comes is read, and dropped.
        """
        self._receiving.cancel()
        self._let_go.set()
        await trio.lowlevel.checkpoint()
        if self._taken_over or self._lingering:
            return
        self._lingering = True
        try:
            self.shut_write()
            with trio.move_on_after(LINGER), suppress(*GONE):
                while await self.read(1 << 16):
                    pass
        finally:
            self.close()

    # What takes over.

    def take_over(self) -> None:
        """Take the connection from hypercorn, which may still answer the handshake."""
        self._taken_over = True
        self._receiving.cancel()

    async def read(self, max_bytes: int) -> bytes:
        """Return what came, b"" at the end of it. Cancelling loses nothing."""
        if self._early:
            data, self._early = self._early, b""
            return data
        while True:
            self._check()
            # Nearly always there is nothing yet, so trying first would be for nothing.
            await trio.lowlevel.wait_readable(self.socket)
            try:
                return self.socket.recv(max_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from error

    def write_nowait(self, data: bytes | memoryview) -> memoryview | None:
        """Write as much as fits; return what does not, which has to be written next."""
        self._check()
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error
        return None if sent == len(data) else memoryview(data)[sent:]

    async def wait_writable(self) -> None:
        """Wait until something fits again, or the peer has gone. Cancelling changes nothing."""
        self._check()
        await trio.lowlevel.wait_writable(self.socket)

    def shut_write(self) -> None:
        """Send nothing more; what was written still goes out."""
        if not self._closed:
            with suppress(OSError):  # The peer may have been faster.
                self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket; the kernel still delivers what was written. May be called again."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    def abort(self) -> None:
        """Close at once, dropping what the kernel still holds; every waiting task is woken."""
        if not self._closed:
            with suppress(OSError):  # The peer may have been faster.
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
