"""Histories: what happens to the processes, the clients and the network, and when."""

import enum
from itertools import chain

import msgspec
from hypothesis import strategies as st

from sharechat.actors.policy import Policy


class Action(enum.StrEnum):
    JOIN = "join"
    TALK = "talk"
    CLOSE = "close"
    VANISH = "vanish"
    RETURN = "return"
    STALL = "stall"
    DAWDLE = "dawdle"
    READ_ON = "read on"
    DELETE = "delete"
    START = "start"
    KILL = "kill"
    STOP = "stop"
    FREEZE = "freeze"
    OUTAGE = "outage"
    SEVER = "sever"
    CHAOS = "chaos"
    SLOW = "slow"
    NOISE = "noise"
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


class History(msgspec.Struct, frozen=True):
    """Everything that determines one run of the simulation.

    `seed` determines the details that are not drawn one by one: what happens to a single call,
    and the order in which trio runs the tasks that are ready.
    """

    seed: int
    processes: int
    initial_members: int
    tight_limits: bool
    """Whether all limits of the Policy are as low as possible."""
    quiet_time: float
    """Seconds for which the run continues once it is quiescent."""
    ops: tuple[Op, ...]

    @property
    def policy(self) -> Policy:
        """The real times, except those that would only make a history long."""
        if not self.tight_limits:
            return Policy(reconcile_interval=8, fan_out_slice=2)
        return Policy(
            reconcile_interval=8,
            # As in a room with hundreds of members, other tasks run during a delivery.
            fan_out_slice=2,
            message_burst=3,
            max_waiting_bytes=2000,
            max_waiting_batches=5,
            room_mailbox=3,
            journal_mailbox=2,
            read_limit=2,
            room_linger=1,
            room_ttl=20,
        )


_DELAYS = (0.0, 0.0, 0.0, 0.0, 0.001, 0.003, 0.007, 0.02, 0.05, 0.2, 0.3, 1.0, 1.0, 2.0, 3.0, 11.0)
"""Seconds that an op may come after the one before it."""

DURATIONS = (0.004, 0.3, 1.0, 3.0, 6.0, 8.0, 12.0, 20.0)
"""Seconds that the effect of an op may last."""

_WEIGHTS = {
    Action.TALK: 10,
    Action.JOIN: 6,
    Action.CLOSE: 2,
    Action.VANISH: 3,
    Action.RETURN: 3,
    Action.STALL: 1,
    Action.DAWDLE: 1,
    Action.READ_ON: 1,
    Action.DELETE: 1,
    Action.START: 2,
    Action.KILL: 2,
    Action.STOP: 2,
    Action.FREEZE: 2,
    Action.OUTAGE: 2,
    Action.SEVER: 1,
    Action.CHAOS: 4,
    Action.SLOW: 1,
    Action.NOISE: 4,
    Action.CUT: 2,
}
_ACTIONS = tuple(action for action, weight in _WEIGHTS.items() for _ in range(weight))

_op = st.builds(
    Op, st.sampled_from(_DELAYS), st.sampled_from(_ACTIONS), st.integers(0, 7), st.integers(0, 63)
)

# Lists of lists, because hypothesis draws lists of about five elements, whatever the maximum.
_op_lists = st.lists(_op, max_size=10)


def _flatten(lists: list[list[Op]]) -> tuple[Op, ...]:
    return tuple(chain.from_iterable(lists))


histories: st.SearchStrategy[History] = st.builds(
    History,
    seed=st.integers(0, 2**32 - 1),
    processes=st.integers(1, 3),
    initial_members=st.integers(0, 6),
    tight_limits=st.booleans(),
    quiet_time=st.sampled_from((0.0, 0.0, 6.0, 14.0)),
    ops=st.lists(_op_lists, max_size=10).map(_flatten),
)


def to_text(history: History) -> str:
    """Return the history as one line of JSON, for `--replay`."""
    return msgspec.json.encode(history).decode()


def from_text(text: str) -> History:
    return msgspec.json.decode(text, type=History)
