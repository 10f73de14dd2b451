"""What the parent and its client processes tell each other; all of it is pickled."""

from dataclasses import dataclass, field

MAX_UNSENT = 16 * 1024
"""Bytes that a talker may have on the way: what always fits into a socket's buffer."""


@dataclass(frozen=True)
class Seat:
    """One member to be: its number, its room and whether it talks."""

    number: int
    room: str
    talks: bool = False
    keeps: bool = False
    """Whether it keeps all that it hears, for the check of the order."""
    reads: bool = True
    """Whether it goes on to read once it has joined."""


@dataclass(frozen=True)
class Connect:
    """Let these join, so many at once; answered when all have heard their own `joined`."""

    address: tuple[str, int]
    seats: list[Seat]
    at_once: int
    text_bytes: int
    seconds: float


@dataclass(frozen=True)
class Connected:
    first_ids: dict[int, str]
    """By the member's number, the id of the first message that it heard."""
    failures: list[str]


@dataclass(frozen=True)
class Talk:
    """Let the talkers talk, each with at most `window` messages not yet heard back.

    Times are of the monotonic clock, which is the machine's. `quota`: messages of each.
    """

    start: float
    measure_from: float
    until: float
    window: int = 1
    quota: int | None = None
    patience: float = 10
    """Seconds after the end in which what is on its way may still come."""


@dataclass(frozen=True)
class Talked:
    """What came of it; counts and latencies are of the measured time only."""

    heard: int
    seconds: float
    latencies: list[float]
    sent: dict[str, int]
    """By room, all messages ever sent."""
    unanswered: int
    closed: dict[int, float]
    """By number, when the server closed members that do not read."""


@dataclass(frozen=True)
class Settle:
    """Read until every member has heard so many messages, or the time is over."""

    expected: dict[int, int]
    seconds: float


@dataclass(frozen=True)
class Settled:
    """`streams`: by number, the ids that those who keep have heard; `wrong`: (heard, expected)."""

    last_heard_at: float
    wrong: dict[int, tuple[int, int]]
    streams: dict[int, list[str]] = field(default_factory=dict)
    closed: list[int] = field(default_factory=list)
