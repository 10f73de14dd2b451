"""One member in a client process: a socket, what it heard, what it waits for."""

import json
import socket
from collections import deque
from time import monotonic

from sharechat.bench.plan import Seat
from sharechat.bench.wire import PONG, TEXT, handshake, masked, walk

_PING = 0x9
_CLOSE = 0x8
_READ = 1 << 16  # More would be mapped anew at every call, which costs ten times as much.
_SMALL_BUFFER = 4096


class ClosedError(Exception):
    """The server closed the connection, or never opened it; says why."""


class Member:
    """Every method is quick and never waits; ClosedError ends the connection."""

    __slots__ = (
        "_marker",
        "_rest",
        "first_id",
        "frame",
        "heard",
        "is_open",
        "kept",
        "last_heard_at",
        "seat",
        "sent",
        "sent_at",
        "sock",
    )

    def __init__(self, seat: Seat, text_bytes: int) -> None:
        self.seat = seat
        self.heard = 0
        self.sent = 0
        self.first_id: str | None = None
        self.last_heard_at = 0.0
        self.kept: list[bytes] | None = [] if seat.keeps else None
        self.is_open = False
        self.sent_at: deque[float] = deque()
        self._rest = b""
        # The text says whose it is, so that nothing needs to be parsed to know one's own.
        self._marker = f"@{seat.number}@".encode()
        self.frame = masked(TEXT, self._marker.ljust(text_bytes, b"."))
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not seat.reads:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)

    def connect(self, address: tuple[str, int]) -> None:
        """Begin to connect; once that has worked the socket gets writable."""
        self.sock.connect_ex(address)

    def shake_hands(self, address: tuple[str, int]) -> None:
        if error := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ClosedError(f"cannot connect: error {error}")
        host = f"{address[0]}:{address[1]}"
        self.sock.send(handshake(host, f"/api/serve/{self.seat.room}"))

    def read(self) -> list[float]:
        """Read once; return how long each of the own messages that came took."""
        try:
            data = self.sock.recv(_READ)
        except BlockingIOError:
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
        end, messages, control = walk(data)
        self._rest = data[end:]
        if control:
            self._answer(control)
        if not messages:
            return []
        now = self.last_heard_at = monotonic()
        self.heard += messages
        if self.kept is not None:
            self.kept.append(data[:end])
        if self.first_id is None:
            self.first_id = _first_id(data)
        if not self.sent_at:
            return []
        mine = data.count(self._marker, 0, end)
        return [now - self.sent_at.popleft() for _ in range(mine)]

    def talk(self) -> None:
        """Send the message; what is on the way is little enough to fit the socket's buffer."""
        self.sent_at.append(monotonic())
        self.sent += 1
        try:
            self.sock.send(self.frame)
        except OSError as error:
            raise ClosedError(str(error)) from error

    def close(self) -> None:
        self.sock.close()

    def _open(self, head: bytes) -> None:
        status = head.partition(b"\r\n")[0].decode("latin-1")
        if status.split(" ")[1:2] != ["101"]:
            raise ClosedError(f"no websocket: {status}")
        self.is_open = True

    def _answer(self, control: list[tuple[int, bytes]]) -> None:
        for opcode, payload in control:
            if opcode == _CLOSE:
                code = int.from_bytes(payload[:2], "big")
                raise ClosedError(f"closed: {code} {payload[2:].decode(errors='replace')}")
            if opcode == _PING:
                self.sock.send(masked(PONG, payload))


def _first_id(data: bytes) -> str:
    start = data.index(b"{")
    message = json.JSONDecoder().raw_decode(data[start:].decode(errors="replace"))[0]
    return str(message["id"])
