"""The commands that the parent sends to its client processes, and their replies, pickled."""

from dataclasses import dataclass, field

MAX_IN_FLIGHT_BYTES = 16 * 1024
"""Bytes that one talker may have in flight: an amount that always fits the send buffer."""


@dataclass(frozen=True)
class MemberSpec:
    """A member to connect: its number, unique in the run, its room's id and what it does."""

    number: int
    room: str
    talks: bool = False
    records: bool = False
    """Whether it records everything it hears, so that the order can be checked."""
    reads: bool = True
    """Whether it goes on reading once it has joined."""


@dataclass(frozen=True)
class Connect:
    """Connect these members; the reply comes once each has heard its own `joined`."""

    address: tuple[str, int]
    specs: list[MemberSpec]
    concurrency: int
    """How many may be joining at any one time."""
    text_bytes: int
    timeout: float
    """Seconds."""
    secure: bool = False
    """Whether to speak TLS."""


@dataclass(frozen=True)
class Connected:
    """The reply to Connect."""

    first_ids: dict[int, str]
    """By member number, the id of the first message that the member heard."""
    failures: list[str]
    """A line for each member that did not join, or was closed meanwhile."""


@dataclass(frozen=True)
class Talk:
    """Let the talkers talk, each with at most `window` messages in flight.

    Times are in seconds of the monotonic clock, which all processes of a machine share.
    """

    start: float
    measure_from: float
    until: float
    window: int = 1
    quota: int | None = None
    """Messages for each talker to send; talking ends early once all have come back."""
    grace: float = 10
    """Seconds after `until` in which messages in flight may still come back."""


@dataclass(frozen=True)
class Talked:
    """The reply to Talk; `heard`, `seconds` and `latencies` cover only the measured time."""

    heard: int
    """Messages received, summed over all members."""
    seconds: float
    latencies: list[float]
    """Seconds until a message came back to its sender, one item per message."""
    sent: dict[str, int]
    """By room id, how many messages were sent since the members joined."""
    unanswered: int
    """How many messages never came back to their senders."""
    closed: dict[int, float]
    """By member number, when the server closed the connection (monotonic seconds)."""


@dataclass(frozen=True)
class Drain:
    """Read until each member has heard as many messages as expected or lost its connection."""

    expected: dict[int, int]
    """Number of messages by member number."""
    timeout: float
    """Seconds after which to stop reading all the same."""


@dataclass(frozen=True)
class Drained:
    """The reply to Drain, about the members that Drain named."""

    last_heard_at: float
    """When the last message was received, in seconds of the monotonic clock."""
    miscounted: dict[int, tuple[int, int]]
    """By number, the connected members that heard too few or too many: (heard, expected)."""
    recorded: dict[int, list[str]] = field(default_factory=dict)
    """By number, the ids of all messages that a member heard, if it records them."""
    closed: dict[int, str] = field(default_factory=dict)
    """By number, why members are no longer connected."""
