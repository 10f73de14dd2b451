"""The commands that the parent sends to its client processes, and their replies, pickled."""

from collections import Counter
from collections.abc import Sequence
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
    digests: bool = False
    """Whether it keeps a digest of all that it hears, and measures every delivery."""


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
    sources: Sequence[str] = ()
    """The addresses to connect from, shared out among the members; the system's if empty."""


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
    rate: float | None = None
    """Messages a second of all talkers together, at random times, whether or not earlier ones have
    come back. The window and the quota do not count then."""
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
    delays: Counter[int] = field(default_factory=Counter)
    """How long every delivery took, to the members that measure it; see `delays`."""
    held: int = 0
    """How many messages were not sent in time since too many of the talker were in flight."""
    late: float = 0.0
    """Seconds by which the process was behind with sending, at worst."""


@dataclass(frozen=True)
class Mark:
    """Count and digest from here on; nothing may be under way. The reply is Marked."""


@dataclass(frozen=True)
class Marked:
    """The reply to Mark."""


@dataclass(frozen=True)
class ComeBack:
    """Let all members, whose connections are dropped first, come back at once.

    Each tries as often as it takes, as the client library does, and asks for what it has missed.
    """

    start: float
    """Seconds of the monotonic clock."""
    timeout: float
    """Seconds after which those that are not back are given up."""


@dataclass(frozen=True)
class CameBack:
    """The reply to ComeBack."""

    joined_at: list[float]
    """When each member heard its own `joined`, in seconds of the monotonic clock."""
    refusals: Counter[str]
    """How many attempts failed, by reason."""
    failures: list[str]
    """A line for each member that is not back."""


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
    digests: dict[int, int] = field(default_factory=dict)
    """By number, the digest of what was heard since Mark, if the member keeps one."""
    misheard: list[int] = field(default_factory=list)
    """The members that heard their own messages repeated, in another order, or not all."""
