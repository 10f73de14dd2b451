"""A TCP connection as two simulated sockets: small buffers, partial writes, latency, resets."""

import errno
import socket
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import trio

Later = Callable[[float, Callable[[], None]], None]
"""Calls a function after some seconds."""

Buffer = bytes | memoryview

_RESET = struct.pack("ii", 1, 0)


class Sizes(NamedTuple):
    """Bytes that fit into the buffers of one end and of the other."""

    send: int
    receive: int
    other_send: int
    other_receive: int


class Path(NamedTuple):
    """What is between two sockets, and how their kernels behave."""

    sizes: Sizes
    rng: Random
    later: Later
    latency: float = 0
    """Seconds that everything takes from one end to the other."""
    cuts: float = 0
    """How often the kernel takes or returns less than it could."""

    def cut(self, count: int) -> int:
        """Return how many of `count` bytes are taken or returned at once; at least one."""
        if count > 1 and self.cuts and self.rng.random() < self.cuts:
            return self.rng.randint(1, count - 1)
        return count


def connect(path: Path) -> tuple["SimSocket", "SimSocket"]:
    """Return both ends of a connection."""
    sizes = path.sizes
    one, other = SimSocket(path, *sizes[:2]), SimSocket(path, *sizes[2:])
    one._peer, other._peer = other, one
    return one, other


class SimSocket:
    """One end of a connection, with the methods of a non-blocking socket that are needed.

    `trio.lowlevel` can wait for it in the block of `simulated_sockets` (kernel.py).
    """

    _peer: "SimSocket"

    def __init__(self, path: Path, send_size: int, receive_size: int) -> None:
        self._path = path
        self._send_size, self._receive_size = send_size, receive_size
        # What the other kernel has not acknowledged, and what it has sent.
        self._sending, self._received = bytearray(), bytearray()
        # Whether our FIN has been requested and has arrived there.
        self._shut = self._shut_arrived = False
        self._on_its_way = False
        self._unreachable = False
        self._broken = False
        self._error: int | None = None
        self._closing = False
        """Whether tasks that wait for it have been told that it will be closed."""
        self._closed = False
        self._resets = False
        self._reader: trio.lowlevel.Task | None = None
        self._writer: trio.lowlevel.Task | None = None
        self.reluctance = 0.0
        """How often `send` takes nothing although there is room, as if that had just come."""
        self.on_change: Callable[[], None] = lambda: None
        """Is called when bytes, room for bytes or an end have come."""
        self.on_close: Callable[[bool], None] = lambda reset: None
        """Is called when this end is closed, with whether that resets the connection."""

    # A socket's methods.

    def send(self, data: Buffer) -> int:
        if self.reluctance and self._path.rng.random() < self.reluctance:
            self._check()
            raise BlockingIOError(errno.EAGAIN, "reluctant")
        return self.sendmsg([data])

    def sendmsg(self, buffers: Sequence[Buffer]) -> int:
        self._check()
        if self._broken or self._shut:
            raise BrokenPipeError(errno.EPIPE, "the connection has ended")
        data = b"".join(buffers)
        room = self._send_size - len(self._sending)
        if data and room <= 0:
            raise BlockingIOError(errno.EAGAIN, "the send buffer is full")
        count = self._path.cut(min(room, len(data)))
        self._sending += data[:count]
        self._carry()
        return count

    def recv(self, max_bytes: int) -> bytes:
        if self._received and not self._closed:
            count = self._path.cut(min(max_bytes, len(self._received)))
            data = bytes(self._received[:count])
            del self._received[:count]
            self._peer._carry()
            return data
        self._check()
        if self._broken or self._peer._shut_arrived:
            return b""
        raise BlockingIOError(errno.EAGAIN, "nothing has come")

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self._check()
        if self._broken:
            raise OSError(errno.ENOTCONN, "the connection has ended")
        self._shut = True
        self._carry()

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self._check()
        self._resets = value == _RESET

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        reset = (self._resets or bool(self._received)) and not self._broken
        if reset:
            self._broken = True  # Nothing that waits here follows the reset.
            self._sending.clear()
            if self._path.latency:
                self._path.later(self._path.latency, self._peer._break_with_reset)
            else:
                self._peer._break_with_reset()
        else:
            self._shut = True
            self._carry()
        self.on_close(reset)

    @property
    def unacknowledged(self) -> int:
        """How many bytes have not arrived at the other end, of which a FIN counts as one."""
        return len(self._sending) + (self._shut and not self._shut_arrived)

    # What happens to hosts and on the network.

    def vanish(self) -> None:
        """Cut this end off: nothing arrives at either end any more."""
        self._unreachable = self._peer._unreachable = True

    def time_out(self) -> None:
        """Let the kernel give up on an end that it cannot reach."""
        self._break(errno.ETIMEDOUT)

    # For the functions of trio.

    @property
    def readable(self) -> bool:
        return bool(self._received or self._peer._shut_arrived or self._broken)

    @property
    def writable(self) -> bool:
        used = len(self._sending)
        # Linux waits until a third of the buffer is free.
        return 2 * (self._send_size - used) >= used or self._broken

    async def wait_readable(self) -> None:
        await self._wait("_reader", self.readable)

    async def wait_writable(self) -> None:
        await self._wait("_writer", self.writable)

    async def _wait(self, role: str, ready: bool) -> None:
        if self._closed:  # Its process was killed, and ends as if it had closed the socket itself.
            await trio.lowlevel.checkpoint()
            raise trio.ClosedResourceError
        if getattr(self, role) is not None:
            raise trio.BusyResourceError
        if ready:
            await trio.lowlevel.checkpoint()
            return

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            setattr(self, role, None)
            return trio.lowlevel.Abort.SUCCEEDED

        setattr(self, role, trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(abort)
        if self._closing:
            raise trio.ClosedResourceError

    def notify_closing(self) -> None:
        self._closing = True
        tasks = [task for task in (self._reader, self._writer) if task is not None]
        self._reader = self._writer = None
        for task in tasks:
            trio.lowlevel.reschedule(task)

    # The way from here to the other end.

    def _check(self) -> None:
        if self._closed:
            raise OSError(errno.EBADF, "the socket is closed")
        if self._error is not None:
            error, self._error = self._error, None
            raise OSError(error, "the connection has broken")

    def _carry(self) -> None:
        """Send what waits on its way, unless something is on its way already."""
        if self._on_its_way or not self._can_move():
            return
        self._on_its_way = True
        if self._path.latency:
            self._path.later(self._path.latency, self._arrive)
            return
        while self._can_move():
            self._move()
        self._on_its_way = False

    def _arrive(self) -> None:
        self._on_its_way = False
        if self._can_move():
            self._move()
            self._carry()

    def _can_move(self) -> bool:
        if self._unreachable or self._broken:
            return False
        if self._sending:
            return len(self._peer._received) < self._peer._receive_size or self._peer._closed
        return self._shut and not self._shut_arrived

    def _move(self) -> None:
        """Let the other end have as much as it has room for, or a part of that."""
        peer = self._peer
        if self._sending and peer._closed:  # It can never read this, and its kernel says so.
            peer._sending.clear()
            self._break_with_reset()
            return
        if self._sending:
            room = peer._receive_size - len(peer._received)
            count = self._path.cut(min(room, len(self._sending)))
            peer._received += self._sending[:count]
            del self._sending[:count]
        if self._shut and not self._sending:
            self._shut_arrived = True
        peer._changed()
        self._changed()

    def _break_with_reset(self) -> None:
        if not self._unreachable:
            self._break(errno.ECONNRESET)

    def _break(self, error: int) -> None:
        if self._broken:
            return
        # After a FIN there is nothing left to read that a reset could spoil.
        ended = self._peer._shut_arrived
        self._broken = True
        self._error = None if ended else error
        self._sending.clear()
        self._changed()

    def _changed(self) -> None:
        if self._reader is not None and self.readable:
            task, self._reader = self._reader, None
            trio.lowlevel.reschedule(task)
        if self._writer is not None and self.writable:
            task, self._writer = self._writer, None
            trio.lowlevel.reschedule(task)
        if not self._closed:
            self.on_change()


def reset_on_close(sock: SimSocket) -> None:
    """Make closing the socket reset the connection, without a FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
