"""One member in a client process: its socket, what it heard, and what it has in flight."""

import json
import os
import select
import socket
import ssl
from collections import deque
from time import monotonic

from sharechat.bench.commands import MemberSpec
from sharechat.bench.wire import PONG, TEXT, handshake, masked_frame, scan

_PING = 0x9
_CLOSE = 0x8
_RECV_BYTES = 1 << 16
"""Bytes per read. A larger buffer would be mapped anew by every call, at ten times the cost."""
_SMALL_BUFFER = 4096
"""Bytes of receive buffer for a member that does not read, so that it fills up soon."""


class ClosedError(Exception):
    """The connection has ended or was refused; the text gives the reason.

    `status` is that of the answer that refused it, `code` the websocket's close code, or 0.
    """

    def __init__(self, reason: str, *, status: int = 0, code: int = 0) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code


class Member:
    """A non-blocking websocket client that counts what it hears.

    No method blocks. Each may raise ClosedError; the connection is of no use afterwards, and
    the caller must call `close`.
    """

    __slots__ = (
        "_context",
        "_marker",
        "_rest",
        "began",
        "first_id",
        "frame",
        "has_asked",
        "heard",
        "is_open",
        "joined_at",
        "last_heard_at",
        "recorded",
        "sent",
        "sent_at",
        "sock",
        "spec",
    )

    def __init__(
        self, spec: MemberSpec, text_bytes: int, context: ssl.SSLContext | None = None
    ) -> None:
        """Prepare a member whose chat messages are `text_bytes` long; with a context, over TLS."""
        self.spec = spec
        self.heard = 0
        self.sent = 0
        self.first_id: str | None = None
        self.last_heard_at = 0.0
        self.recorded: list[bytes] | None = [] if spec.records else None
        self.began = 0.0
        """When it started to connect."""
        self.has_asked = False
        """Whether it has sent the request that joins the room."""
        self.is_open = False
        self.joined_at: float | None = None
        """When it heard its own `joined`, on the present connection."""
        self.sent_at: deque[float] = deque()
        """When each message in flight was sent, oldest first."""
        self._context = context
        self._rest = b""
        # The text names its sender, so members recognise their own without parsing JSON.
        self._marker = f"@{spec.number}@".encode()
        self.frame = masked_frame(TEXT, self._marker.ljust(text_bytes, b"."))

    def connect(self, address: tuple[str, int], source: str | None = None) -> None:
        """Start connecting, from the address `source` if there is one.

        The socket, a new one, becomes writable once that has succeeded or failed. Raises OSError
        if the process may have no more sockets.
        """
        self.began = monotonic()
        self.has_asked = self.is_open = False
        self.joined_at = None
        self._rest = b""
        self.sock = socket.socket()
        self.sock.setblocking(False)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, do_handshake_on_connect=False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.spec.reads:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        if source is not None:
            self.sock.bind((source, 0))
        self.sock.connect_ex(address)

    def go_on_connecting(self, address: tuple[str, int]) -> int:
        """Go on once the socket is ready, until the request that joins the room has been sent.

        Returns what of epoll to wait for next.
        """
        if number := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ClosedError(f"cannot connect: {os.strerror(number)}")
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.do_handshake()
            self.sock.send(handshake(f"{address[0]}:{address[1]}", self._path()))
        except ssl.SSLWantReadError:
            return select.EPOLLIN
        except ssl.SSLWantWriteError:
            return select.EPOLLOUT
        except OSError as error:
            raise ClosedError(str(error)) from error
        self.has_asked = True
        return select.EPOLLIN

    def read(self) -> list[float]:
        """Read once; return the seconds since sending of each own message that came back."""
        try:
            data = self.sock.recv(_RECV_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return []
        except OSError as error:
            raise ClosedError(str(error)) from error
        if not data:
            raise ClosedError("the server closed the connection")
        if self._rest:
            data = self._rest + data
        if not self.is_open:
            head, found, after = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = data
                return []
            self._open(head)
            data = after
        end, messages, control = scan(data)
        self._rest = data[end:]
        if control:
            self._answer(control)
        if not messages:
            return []
        now = self.last_heard_at = monotonic()
        self.heard += messages
        if self.recorded is not None:
            self.recorded.append(data[:end])
        if self.joined_at is None:
            self._look_for_joined(data, now)
        return self._take(data, end, now)

    def send(self) -> None:
        """Send one chat message.

        The caller must keep what is in flight below MAX_IN_FLIGHT_BYTES, so that the frame
        fits the socket's send buffer.
        """
        self.sent_at.append(monotonic())
        self.sent += 1
        try:
            self.sock.send(self.frame)
        except OSError as error:
            raise ClosedError(str(error)) from error

    def close(self) -> None:
        """Close the socket without a closing handshake. May be called twice."""
        self.is_open = False
        self.sock.close()

    def _path(self) -> str:
        return f"/api/serve/{self.spec.room}"

    def _open(self, head: bytes) -> None:
        line = head.partition(b"\r\n")[0].decode("latin-1")
        status = line.split(" ")[1:2]
        if status != ["101"]:
            number = int(status[0]) if status and status[0].isdecimal() else 0
            raise ClosedError(f"the server refused the websocket: {line}", status=number)
        self.is_open = True

    def _look_for_joined(self, data: bytes, now: float) -> None:
        """Note in `joined_at` that a message in `data` is the member's own `joined`."""
        self.first_id = _first_id(data)
        self.joined_at = now

    def _take(self, data: bytes, end: int, now: float) -> list[float]:
        """Return the latency of each own message in the frames `data[:end]`."""
        if not self.sent_at:
            return []
        own = data.count(self._marker, 0, end)
        return [now - self.sent_at.popleft() for _ in range(own)]

    def _answer(self, control: list[tuple[int, bytes]]) -> None:
        for opcode, payload in control:
            if opcode == _CLOSE:
                code = int.from_bytes(payload[:2], "big")
                reason = payload[2:].decode(errors="replace")
                raise ClosedError(f"closed: {code} {reason}", code=code)
            if opcode == _PING:
                self.sock.send(masked_frame(PONG, payload))


def _first_id(data: bytes) -> str:
    start = data.index(b"{")
    message = json.JSONDecoder().raw_decode(data[start:].decode(errors="replace"))[0]
    return str(message["id"])
