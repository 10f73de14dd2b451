"""The world of one history: who is in it, what has happened, and where randomness comes from."""

from collections.abc import Callable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import NamedTuple, Protocol

import trio

from sharechat.domain.ids import MemberId, MessageId, ProcessId, RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Queue, Repository
from tests.simulation.faults import Disturbance, Faults
from tests.simulation.freezing import Freezer
from tests.simulation.state import AuthorState, ClientState, ProcessState, QueueRecord

_MAX_CALLS = 50_000
"""More calls of the Repository than any history needs; this ends an actor that spins."""

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the simulated time of day."""
    return _EPOCH + timedelta(seconds=trio.current_time())


class Commit(NamedTuple):
    """An entry that was stored: when, and through which process."""

    entry: Entry
    at: float
    process: int


class Store(Repository, Protocol):
    """The one Repository that all processes share, and what it has ever stored."""

    @property
    def log(self) -> Mapping[RoomId, Sequence[Commit]]:
        """The log of each room that ever existed."""
        ...

    @property
    def seqs(self) -> Mapping[MessageId, int]:
        """The place of each message in the log of its room."""
        ...

    @property
    def created_at(self) -> Mapping[RoomId, float]:
        """When each room was created."""
        ...

    @property
    def left_through(self) -> Mapping[MemberId, int]:
        """The number of the process that stored each `left`."""
        ...

    @property
    def members(self) -> Set[MemberId]:
        """The present members of all rooms."""
        ...


class ProcessBus(Protocol):
    """The bus that connects the processes."""

    def connect(self, process: ProcessState) -> Queue:
        """Return a process's connection to the bus."""
        ...

    def cut(self, cut: Disturbance) -> None:
        """Let a cut begin."""
        ...

    def disturb(self, process: ProcessState, kind: int, seconds: float) -> None:
        """Let one of eight things happen to the bus, or to one process's connection to it."""
        ...

    def restore(self) -> None:
        """Go on after a fault has ended."""
        ...

    async def run(self) -> None: ...


class World:
    """What all parts of a simulation share."""

    truth: Store
    bus: ProcessBus

    def __init__(self, nursery: trio.Nursery, seed: int) -> None:
        self.nursery = nursery
        self.faults = Faults()
        self.freezer = Freezer()
        self.processes: list[ProcessState] = []
        self.authors: list[AuthorState] = []
        self.connections: list[ClientState] = []
        self.queues: list[QueueRecord] = []
        self.rooms: list[RoomId] = []
        self.dead_rooms: dict[RoomId, float] = {}
        """When each room that no longer exists was removed."""
        self.process_of: dict[ProcessId, ProcessState] = {}
        self.member: dict[MemberId, ClientState] = {}
        self.process_ids, self.member_ids, self.message_ids = count(), count(), count()
        self.said: dict[MessageId, str] = {}
        """The text of each message that a client sent."""
        self.malformed: dict[str, str] = {}
        """For each malformed frame, what the answer to it must say."""
        self.unfinished = 0
        """Calls that a fault delays, and commits that continue after their callers gave up."""
        self.calls = 0
        self.clock_offset = 0.0
        """Seconds by which the Repository's clock is wrong."""
        self.violations: list[str] = []
        self.trace: list[tuple[object, ...]] = []
        self._seed = seed

    def rng(self, name: str) -> Random:
        """Return a source of randomness for one part, independent of what other parts draw."""
        return Random(f"{self._seed}/{name}")

    def note(self, *what: object) -> None:
        self.trace.append((trio.current_time(), *what))

    def report_violation(self, what: str) -> None:
        """Record a violation. It is not raised: an actor would catch that and continue."""
        self.note("VIOLATION", what)
        self.violations.append(f"{trio.current_time():.3f}: {what}")

    def count_call(self) -> None:
        self.calls += 1
        if self.calls == _MAX_CALLS:
            self.report_violation("the Repository is called over and over")
        if self.calls >= _MAX_CALLS:
            self.nursery.cancel_scope.cancel()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Call `do` after some seconds."""
        self.nursery.start_soon(_later, seconds, do)


async def _later(seconds: float, do: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    do()
