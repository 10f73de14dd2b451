"""Histories: what happens to the processes, the clients and the network, and when."""

import enum
from itertools import chain

import msgspec
from hypothesis import strategies as st

from sharechat.actors.policy import Policy


class Do(enum.StrEnum):
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
    """`whom` is taken modulo those who are there, so that an op has a meaning in any history."""

    after: float
    do: Do
    whom: int = 0
    how: int = 0


class History(msgspec.Struct, frozen=True):
    """One run of the simulation, entirely.

    `seed` is for what is too fine to be drawn one by one: the fate of a single call, and
    the order in which trio runs what is ready.
    """

    seed: int
    processes: int
    crowd: int
    """Members there from the start."""
    tight: bool
    """Everything that is bounded is bounded tightly."""
    patience: float
    """How long things go on once they are quiet."""
    ops: tuple[Op, ...]

    @property
    def policy(self) -> Policy:
        """The real times, but for what only makes a history long."""
        if not self.tight:
            return Policy(reconcile_interval=8, fan_out_slice=2)
        return Policy(
            reconcile_interval=8,
            # As in a room of hundreds: other tasks run while a batch is delivered.
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
DURATIONS = (0.004, 0.3, 1.0, 3.0, 6.0, 8.0, 12.0, 20.0)

_WEIGHTS = {
    Do.TALK: 10,
    Do.JOIN: 6,
    Do.CLOSE: 2,
    Do.VANISH: 3,
    Do.RETURN: 3,
    Do.STALL: 1,
    Do.DAWDLE: 1,
    Do.READ_ON: 1,
    Do.DELETE: 1,
    Do.START: 2,
    Do.KILL: 2,
    Do.STOP: 2,
    Do.FREEZE: 2,
    Do.OUTAGE: 2,
    Do.SEVER: 1,
    Do.CHAOS: 4,
    Do.SLOW: 1,
    Do.NOISE: 4,
    Do.CUT: 2,
}
_OPS = tuple(do for do, weight in _WEIGHTS.items() for _ in range(weight))

_op = st.builds(
    Op, st.sampled_from(_DELAYS), st.sampled_from(_OPS), st.integers(0, 7), st.integers(0, 63)
)

# Lists of lists, since hypothesis' lists have about five elements whatever they may have.
_op_lists = st.lists(_op, max_size=10)


def _flatten(lists: list[list[Op]]) -> tuple[Op, ...]:
    return tuple(chain.from_iterable(lists))


histories: st.SearchStrategy[History] = st.builds(
    History,
    seed=st.integers(0, 2**32 - 1),
    processes=st.integers(1, 3),
    crowd=st.integers(0, 6),
    tight=st.booleans(),
    patience=st.sampled_from((0.0, 0.0, 6.0, 14.0)),
    ops=st.lists(_op_lists, max_size=10).map(_flatten),
)


def to_text(history: History) -> str:
    """Return the history as one line of JSON, for `--replay`."""
    return msgspec.json.encode(history).decode()


def from_text(text: str) -> History:
    return msgspec.json.decode(text, type=History)
