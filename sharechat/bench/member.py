"""One member in a client process: its socket, what it heard, and what it has in flight."""

import json
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
    """The connection has ended or was refused; the text gives the reason."""


class Member:
    """A non-blocking websocket client that counts what it hears.

    No method blocks. Each may raise ClosedError; the connection is of no use afterwards, and
    the caller must call `close`.
    """

    __slots__ = (
        "_marker",
        "_rest",
        "first_id",
        "frame",
        "has_asked",
        "heard",
        "is_open",
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
        self.has_asked = False
        """Whether it has sent the request that joins the room."""
        self.is_open = False
        self.sent_at: deque[float] = deque()
        """When each message in flight was sent, oldest first."""
        self._rest = b""
        # The text names its sender, so members recognise their own without parsing JSON.
        self._marker = f"@{spec.number}@".encode()
        self.frame = masked_frame(TEXT, self._marker.ljust(text_bytes, b"."))
        self.sock = socket.socket()
        self.sock.setblocking(False)
        if context is not None:
            self.sock = context.wrap_socket(self.sock, do_handshake_on_connect=False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not spec.reads:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)

    def connect(self, address: tuple[str, int]) -> None:
        """Start connecting; the socket becomes writable once that has succeeded or failed."""
        self.sock.connect_ex(address)

    def go_on_connecting(self, address: tuple[str, int]) -> int:
        """Go on once the socket is ready, until the request that joins the room has been sent.

        Returns what of epoll to wait for next.
        """
        if number := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ClosedError(f"cannot connect: error {number}")
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.do_handshake()
            self.sock.send(handshake(f"{address[0]}:{address[1]}", f"/api/serve/{self.spec.room}"))
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
        if self.first_id is None:
            self.first_id = _first_id(data)
        if not self.sent_at:
            return []
        own = data.count(self._marker, 0, end)
        return [now - self.sent_at.popleft() for _ in range(own)]

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
        self.sock.close()

    def _open(self, head: bytes) -> None:
        status = head.partition(b"\r\n")[0].decode("latin-1")
        if status.split(" ")[1:2] != ["101"]:
            raise ClosedError(f"the server refused the websocket: {status}")
        self.is_open = True

    def _answer(self, control: list[tuple[int, bytes]]) -> None:
        for opcode, payload in control:
            if opcode == _CLOSE:
                code = int.from_bytes(payload[:2], "big")
                raise ClosedError(f"closed: {code} {payload[2:].decode(errors='replace')}")
            if opcode == _PING:
                self.sock.send(masked_frame(PONG, payload))


def _first_id(data: bytes) -> str:
    start = data.index(b"{")
    message = json.JSONDecoder().raw_decode(data[start:].decode(errors="replace"))[0]
    return str(message["id"])
