"""The world of one history: who is in it, what happened, and where chance comes from."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import trio

from sharechat.domain.ids import MemberId, MessageId, ProcessId, RoomId
from tests.simulation.faults import Faults

if TYPE_CHECKING:
    from tests.simulation.client import SimConnection
    from tests.simulation.process import SimProcess
    from tests.simulation.queue import Bus
    from tests.simulation.truth import Truth

# More calls than any history makes: an actor that spins without time passing ends here.
_MOST_CALLS = 50_000


_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the simulated time of day."""
    return _EPOCH + timedelta(seconds=trio.current_time())


class World:
    """What all parts of a simulation know of each other."""

    truth: "Truth"
    bus: "Bus"

    def __init__(self, nursery: trio.Nursery, seed: int) -> None:
        self.nursery = nursery
        self.faults = Faults()
        self.processes: list[SimProcess] = []
        self.connections: list[SimConnection] = []
        self.rooms: list[RoomId] = []
        self.dead_rooms: dict[RoomId, float] = {}
        """When each room that was removed was removed."""
        self.process_of: dict[ProcessId, SimProcess] = {}
        self.member: dict[MemberId, SimConnection] = {}
        self.process_ids, self.member_ids, self.message_ids = count(), count(), count()
        self.said: dict[MessageId, str] = {}
        """What each message that a client sent said."""
        self.late = 0
        """Calls on their bad way, and commits that hang on although their callers have given up."""
        self.calls = 0
        self.violations: list[str] = []
        self.trace: list[tuple[object, ...]] = []
        self._seed = seed

    def dice(self, name: str) -> Random:
        """Return a source of chance of its own, so that one part does not disturb another's."""
        return Random(f"{self._seed}/{name}")

    def note(self, *what: object) -> None:
        self.trace.append((trio.current_time(), *what))

    def accuse(self, what: str) -> None:
        """Record a violation. Not an exception: an actor would catch that, and go on."""
        self.note("VIOLATION", what)
        self.violations.append(f"{trio.current_time():.3f}: {what}")

    def count_call(self) -> None:
        self.calls += 1
        if self.calls == _MOST_CALLS:
            self.accuse("the Repository is asked over and over")
        if self.calls >= _MOST_CALLS:
            self.nursery.cancel_scope.cancel()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        self.nursery.start_soon(_later, seconds, do)


async def _later(seconds: float, do: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    do()
