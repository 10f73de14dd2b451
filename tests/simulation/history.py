"""Histories: what happens to the processes, the clients and the network, and when."""

import enum

import msgspec

from sharechat.actors.policy import Policy


class Action(enum.StrEnum):
    JOIN = "join"
    TALK = "talk"
    BURST = "burst"
    """Says more at once than the rate allows."""
    BAD_TEXT = "bad text"
    """Says something that cannot be stored."""
    MALFORMED = "malformed"
    """Sends a frame that the subprotocol does not allow."""
    REPEAT = "repeat"
    """Says again, with the same ids, what the server may have stored already."""
    CLOSE = "close"
    LAST_WORDS = "last words"
    """Says something and closes at once."""
    RESET = "reset"
    VANISH = "vanish"
    FALL_SILENT = "fall silent"
    """Vanishes, and no kernel ever notices."""
    RETURN = "return"
    """Comes back after the last message that it has heard, and repeats what is not acknowledged."""
    CATCH_UP = "catch up"
    """Comes back after a message of long ago, and reads slowly."""
    STALL = "stall"
    DAWDLE = "dawdle"
    CRAWL = "crawl"
    """Reads a few bytes every few seconds."""
    READ_ON = "read on"
    DELETE = "delete"
    START = "start"
    KILL = "kill"
    STOP = "stop"
    FREEZE = "freeze"
    OUTAGE = "outage"
    SEVER = "sever"
    CHAOS = "chaos"
    ERRORS = "errors"
    SLOW = "slow"
    CLOCK = "clock"
    NOISE = "noise"
    REDIS = "redis"
    """Something happens to Redis, or to a process's connections to it."""
    CUT = "cut"


class Op(msgspec.Struct, frozen=True):
    """One thing that happens in a history."""

    delay: float
    """Seconds from the op before this one."""
    action: Action
    target: int = 0
    """Which client or process; taken modulo their number, so it is valid in any history."""
    variant: int = 0
    """What else differs: how long, how strongly, in which room."""


class BusKind(enum.StrEnum):
    """What connects the processes."""

    FAKE = "fake"
    """A fake of the port, which may do all that the port allows."""
    REDIS = "redis"
    """The real adapter over a simulated Redis and a simulated network."""
    FAR = "far"
    """The same, but Redis is far away, and a stranger talks on the channels of the probes."""
    NARROW = "narrow"
    """The same as `REDIS`, but the kernel and Redis keep few bytes."""
    SMALL = "small"
    """The same as `REDIS`, but the adapter keeps few bytes."""


class Limits(enum.StrEnum):
    """Which limits of the Policy the processes have."""

    REAL = "real"
    TIGHT = "tight"
    """All as low as possible."""
    SMALL_PAGES = "small pages"
    """Reading what is old takes many pages."""


TIGHT_TTL = 20
"""Seconds that an empty room lasts with tight limits."""

RECONCILE_INTERVAL = 8

# The real times, except those that would only make a history long.
_REAL = Policy(
    reconcile_interval=RECONCILE_INTERVAL,
    # As in a room with hundreds of members, other tasks run during a delivery.
    fan_out_slice=2,
)

POLICIES = {
    Limits.REAL: _REAL,
    Limits.TIGHT: Policy(
        reconcile_interval=RECONCILE_INTERVAL,
        fan_out_slice=2,
        message_burst=3,
        max_waiting_bytes=2000,
        max_waiting_batches=5,
        room_mailbox=3,
        journal_mailbox=2,
        read_limit=2,
        room_linger=0.3,
        room_ttl=TIGHT_TTL,
    ),
    Limits.SMALL_PAGES: Policy(
        reconcile_interval=RECONCILE_INTERVAL,
        fan_out_slice=2,
        max_waiting_batches=5,
        read_limit=4,
        read_bytes=500,
        room_mailbox=3,
        room_linger=0.3,
    ),
}


class History(msgspec.Struct, frozen=True):
    """Everything that determines one run of the simulation.

    `seed` determines the details that are not drawn one by one: what happens to a single call,
    and the order in which trio runs the tasks that are ready.
    """

    seed: int
    processes: int
    initial_members: int
    limits: Limits
    bus: BusKind
    old_entries: int
    """How many entries the log of each room has from the beginning."""
    patience: float
    """Seconds for which the faults may last on after the last op."""
    quiet_time: float
    """Seconds for which the run continues once it is quiescent."""
    ops: tuple[Op, ...]

    @property
    def policy(self) -> Policy:
        return POLICIES[self.limits]


DURATIONS = (0.004, 0.3, 1.0, 3.0, 6.0, 8.0, 12.0, 20.0)
"""Seconds that the effect of an op may last."""


def to_text(history: History) -> str:
    """Return the history as one line of JSON, for `--replay`."""
    return msgspec.json.encode(history).decode()


def from_text(text: str) -> History:
    return msgspec.json.decode(text, type=History)
