"""The client's end of a websocket: it makes frames, and checks those that the server sends."""

import enum
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

import trio

from tests.simulation.frames import FIN, FlawError, Frame, Opcode, ServerFrames, client_frame
from tests.simulation.sockets import SimSocket, reset_on_close


class Habits(NamedTuple):
    """How a client differs from others that obey the protocol, or nearly."""

    answers_pings: bool = True
    answers_close: bool = True
    """Whether it answers a close frame, and closes its socket once the server has."""
    splits: float = 0
    """How often it sends a text in several frames."""
    pings: float = 0
    """How often it sends a ping with a frame."""
    hangs_up: bool = False
    """Whether it ends the connection without a close frame."""

    @classmethod
    def draw(cls, rng: Random) -> "Habits":
        """Return those of some client."""
        return cls(
            answers_pings=rng.random() < 0.9,
            answers_close=rng.random() < 0.9,
            splits=rng.choice((0.0, 0.0, 0.3)),
            pings=rng.choice((0.0, 0.5)),
            hangs_up=rng.random() < 0.2,
        )


class End(enum.Enum):
    """How a connection has ended, as its client sees it."""

    FINISHED = enum.auto()
    """The server has sent everything."""
    RESET = enum.auto()
    """The server has reset it."""
    OWN = enum.auto()
    """The client has ended it."""


class ClientWebsocket:
    """A client's socket, and the protocol that it speaks on it.

    `on_text` is called with each text that has been read, and may raise FlawError; `on_flaw` is
    called with what is wrong with what the server has sent.
    """

    def __init__(
        self,
        sock: SimSocket,
        rng: Random,
        habits: Habits,
        *,
        on_text: Callable[[bytes], None],
        on_flaw: Callable[[str], None],
    ) -> None:
        self.habits = habits
        self.read_at = self.sent_at = trio.current_time()
        """When it last read something, and when its kernel last took something."""
        self.close_frame: tuple[int, str] | None = None
        """The code and the reason that the server has closed with."""
        self.closed_first = False
        """Whether it has sent a close frame before it read the server's."""
        self.end: End | None = None
        self.in_frame = False
        """Whether the end came in the middle of a frame."""
        self._socket = sock
        self._rng = rng
        self._on_text, self._on_flaw = on_text, on_flaw
        self._frames = ServerFrames()
        self._unsent = bytearray()
        self._hangs_up = False
        self._busy = self._was_reset = self._close_sent = False
        self._pings: list[bytes] = []
        self._answered = 0

    @property
    def ended(self) -> bool:
        return self.end is not None

    @property
    def arrived(self) -> bool:
        """Whether the server's kernel has everything that the client has sent."""
        return not self._unsent and not self._socket.unacknowledged

    @property
    def awaits_pong(self) -> bool:
        return self._answered < len(self._pings)

    # What the client does.

    def say(self, text: str) -> None:
        """Send a text, in one frame or in several with pings between them."""
        payload = text.encode()
        pieces = [payload]
        if self._rng.random() < self.habits.splits:
            first, second = sorted(self._rng.randint(0, len(payload)) for _ in range(2))
            pieces = [payload[:first], payload[first:second], payload[second:]]
        for number, piece in enumerate(pieces, 1):
            opcode = Opcode.TEXT if number == 1 else Opcode.CONTINUATION
            self._send(opcode, piece, flags=FIN if number == len(pieces) else 0)
            if self._rng.random() < self.habits.pings:
                self._pings.append(str(len(self._pings)).encode())
                self._send(Opcode.PING, self._pings[-1])

    def close(self) -> None:
        """Send a close frame; the server must answer with the same code."""
        self.closed_first = self.close_frame is None
        self._send_close(b"\x03\xe8")

    def hang_up(self) -> None:
        """Close the socket once everything has been sent, without a close frame."""
        self._hangs_up = True
        self.flush()

    def reset(self) -> None:
        """Break the connection in a way that the server notices."""
        self.end = End.OWN
        reset_on_close(self._socket)
        self._socket.close()

    def vanish(self) -> None:
        """Be gone without a trace."""
        self.end = End.OWN
        self._socket.vanish()

    def read(self, max_bytes: int) -> int:
        """Read what has come, and act on it; return how many bytes that were."""
        if self._busy:
            return 0
        with self._acting():
            return 0 if self.ended else self._read(max_bytes)

    def flush(self) -> None:
        """Send what waits, as far as possible."""
        if not self._busy:
            with self._acting():
                pass

    @contextmanager
    def _acting(self) -> Iterator[None]:
        """Send, after the block, what waits then.

        Whatever is done with the socket may change it, and the client is told of that at once;
        it must not act again before it has finished.
        """
        self._busy = True
        try:
            yield
            self._flush()
        finally:
            self._busy = False

    # What it does of itself.

    def _read(self, max_bytes: int) -> int:
        try:
            data = self._socket.recv(max_bytes)
        except BlockingIOError:
            return 0
        except OSError:
            self._end(End.RESET)
            return 0
        if not data:
            self._end(End.RESET if self._was_reset else End.FINISHED)
            return 0
        self.read_at = trio.current_time()
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except FlawError as flaw:
            self._on_flaw(str(flaw))
            self.end = End.OWN
        return len(data)

    def _flush(self) -> None:
        while self._unsent:
            try:
                sent = self._socket.send(bytes(self._unsent))
            except BlockingIOError:
                return
            except OSError as error:
                # The socket reports a reset once; to read its end then looks like a FIN.
                self._was_reset = self._was_reset or error.errno == errno.ECONNRESET
                self._unsent.clear()
                break
            self.sent_at = trio.current_time()
            del self._unsent[:sent]
        if self._hangs_up and not self.ended:
            self.end = End.OWN
            self._socket.close()

    def _take(self, frame: Frame) -> None:
        if self.close_frame is not None:
            raise FlawError(f"a frame after the close frame: {frame}")
        match frame.opcode:
            case Opcode.TEXT:
                self._on_text(frame.payload)
            case Opcode.PING if self.habits.answers_pings:
                self._send(Opcode.PONG, frame.payload)
            case Opcode.PONG:
                if frame.payload not in self._pings[self._answered :]:
                    raise FlawError(f"a pong that answers no ping: {frame.payload!r}")
                self._answered = self._pings.index(frame.payload) + 1
            case Opcode.CLOSE:
                code, reason = frame.payload[:2], frame.payload[2:].decode(errors="replace")
                self.close_frame = int.from_bytes(code, "big"), reason
                if self.habits.answers_close:
                    self._send_close(code)

    def _end(self, end: End) -> None:
        self.end = end
        self.in_frame = self._frames.unfinished
        if self.habits.answers_close or end is End.RESET:
            self._socket.close()

    def _send_close(self, payload: bytes) -> None:
        if not self._close_sent:
            self._send(Opcode.CLOSE, payload)
            self._close_sent = True

    def _send(self, opcode: int, payload: bytes, *, flags: int = FIN) -> None:
        # Only pings are answered after that (RFC 6455, sections 5.5.1 and 5.5.2).
        if self.ended or (self._close_sent and opcode != Opcode.PONG):
            return
        mask = self._rng.getrandbits(32).to_bytes(4, "big")
        self._unsent += client_frame(opcode, payload, mask, flags)
        self.flush()
