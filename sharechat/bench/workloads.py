"""The workloads: who is where, who talks, and what is measured."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from sharechat.bench.checks import check
from sharechat.bench.fleet import Fleet
from sharechat.bench.plan import MAX_UNSENT, Seat, Talk, Talked
from sharechat.bench.results import Result
from sharechat.bench.target import Target

WARM_UP = 1.0
_TALK_SOON = 0.2


@dataclass(frozen=True)
class Conditions:
    """What all workloads share."""

    seconds: float = 5
    """How long is measured."""
    processes: int = 2
    text_bytes: int = 64
    window: int = 1
    """How many messages a talker has on the way."""

    def __post_init__(self) -> None:
        if self.window * (self.text_bytes + 16) > MAX_UNSENT:
            raise ValueError("The window holds more than fits into a socket's buffer.")


class Workload(Protocol):
    """A workload has a name, and can be run for a bounded time."""

    name: ClassVar[str]

    def run(self, target: Target, conditions: Conditions) -> Result:
        """Raises FleetError if the server did not play along, OSError if it is not there."""
        ...


@dataclass(frozen=True)
class OneToMany:
    """One talks to a room of `members`, its own place in the middle of those who join."""

    members: int = 100
    name: ClassVar[str] = "one-to-many"

    def run(self, target: Target, conditions: Conditions) -> Result:
        room = target.make_room()
        seats = [
            Seat(n, room, talks=n == self.members // 2, keeps=n in (0, self.members - 1))
            for n in range(self.members)
        ]
        return talk(self.name, target, conditions, seats)


@dataclass(frozen=True)
class ManyToMany:
    """A room of `members`, all of whom talk."""

    members: int = 100
    name: ClassVar[str] = "many-to-many"

    def run(self, target: Target, conditions: Conditions) -> Result:
        room = target.make_room()
        seats = [
            Seat(n, room, talks=True, keeps=n in (0, self.members - 1)) for n in range(self.members)
        ]
        return talk(self.name, target, conditions, seats)


@dataclass(frozen=True)
class Rooms:
    """Many small rooms, in each of which some talk."""

    rooms: int = 50
    members: int = 10
    talkers: int = 2
    name: ClassVar[str] = "rooms"

    def run(self, target: Target, conditions: Conditions) -> Result:
        ids = [target.make_room() for _ in range(self.rooms)]
        seats = [
            # The first and the last of a room keep what they hear.
            Seat(n * self.rooms + r, id_, 0 < n <= self.talkers, n in (0, self.members - 1))
            for n in range(self.members)
            for r, id_ in enumerate(ids)
        ]
        return talk(self.name, target, conditions, seats)


def talk(name: str, target: Target, conditions: Conditions, seats: Sequence[Seat]) -> Result:
    """Seat everybody, let them talk, and return the figures."""
    result = Result(name)
    with Fleet(target, conditions.processes, text_bytes=conditions.text_bytes) as fleet:
        first_ids = join(fleet, seats)
        answers = fleet.talk(period(conditions))
        add_rates(result, answers)
        result.wrong += check(fleet, target, seats, first_ids, sent(answers))
    return result


def join(fleet: Fleet, seats: Sequence[Seat]) -> dict[int, str]:
    """Seat everybody, the first one of every room before the others."""
    rooms = len({seat.room for seat in seats})
    first_ids = fleet.connect(seats[:rooms])
    first_ids.update(fleet.connect(seats[rooms:]))
    return first_ids


def period(conditions: Conditions) -> Talk:
    """Return the order to talk from now on."""
    start = time.monotonic() + _TALK_SOON
    measure_from = start + min(WARM_UP, conditions.seconds)
    until = measure_from + conditions.seconds
    return Talk(start, measure_from, until, conditions.window)


def add_rates(result: Result, answers: Sequence[Talked]) -> None:
    result.figures["deliveries/s"] = sum(a.heard / a.seconds for a in answers)
    result.figures["messages/s"] = sum(len(a.latencies) / a.seconds for a in answers)
    result.take_latencies([took for answer in answers for took in answer.latencies])


def sent(answers: Sequence[Talked]) -> dict[str, int]:
    """Return how many messages each room was sent."""
    total: dict[str, int] = {}
    for answer in answers:
        for room, count in answer.sent.items():
            total[room] = total.get(room, 0) + count
    return total
