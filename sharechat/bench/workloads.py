"""What a workload is, and the workloads in which members talk."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from sharechat.bench.checks import check
from sharechat.bench.commands import MAX_IN_FLIGHT_BYTES, MemberSpec, Talk, Talked
from sharechat.bench.fleet import Fleet
from sharechat.bench.results import Result
from sharechat.bench.target import Target

DEFAULT_SECONDS = 5.0
"""How long a run measures, unless something else is said."""
WARM_UP = 1.0
"""Seconds of talking before anything is measured."""
_START_DELAY = 0.2
"""Seconds from sending a command to its start, so that all processes start at once."""


@dataclass(frozen=True)
class Parameters:
    """What all workloads have in common. Raises ValueError if the window is too large."""

    seconds: float | None = None
    """How long to measure; by default 5 seconds, or what the workload says."""
    processes: int = 2
    """Number of client processes."""
    text_bytes: int = 64
    """Length of a chat message."""
    window: int = 1
    """How many messages each talker keeps in flight."""
    rate: float | None = None
    """Messages a second of all talkers together, instead of a window."""
    talking: float = 0.05
    """The share of the members that talk, where the workload leaves it open."""

    def __post_init__(self) -> None:
        if self.window * (self.text_bytes + 16) > MAX_IN_FLIGHT_BYTES:
            raise ValueError("the window holds more bytes than fit into a socket's send buffer")


class Workload(Protocol):
    """A named way to load a server."""

    name: ClassVar[str]

    def run(self, target: Target, parameters: Parameters) -> Result:
        """Load `target` for a bounded time and return the figures.

        Raises FleetError if members could not join or never heard what they sent, TargetError
        if the server refuses a request, UnknownServerError if the server's process cannot be
        inspected, and OSError if the server is not reachable.
        """
        ...


@dataclass(frozen=True)
class OneToMany:
    """One member talks in a room of `members`; half of the others join before it."""

    members: int = 100
    name: ClassVar[str] = "one-to-many"

    def run(self, target: Target, parameters: Parameters) -> Result:
        room = target.create_room()
        specs = [
            MemberSpec(n, room, talks=n == self.members // 2, records=n in (0, self.members - 1))
            for n in range(self.members)
        ]
        return run_talk(self.name, target, parameters, specs)


@dataclass(frozen=True)
class ManyToMany:
    """All members of a room of `members` talk."""

    members: int = 100
    name: ClassVar[str] = "many-to-many"

    def run(self, target: Target, parameters: Parameters) -> Result:
        room = target.create_room()
        specs = [
            MemberSpec(n, room, talks=True, records=n in (0, self.members - 1))
            for n in range(self.members)
        ]
        return run_talk(self.name, target, parameters, specs)


@dataclass(frozen=True)
class Rooms:
    """`rooms` rooms of `members` each, in each of which `talkers` talk."""

    rooms: int = 50
    members: int = 10
    talkers: int = 2
    name: ClassVar[str] = "rooms"

    def run(self, target: Target, parameters: Parameters) -> Result:
        ids = [target.create_room() for _ in range(self.rooms)]
        specs = [
            MemberSpec(
                n * self.rooms + r,
                id_,
                talks=0 < n <= self.talkers,
                records=n in (0, self.members - 1),
            )
            for n in range(self.members)
            for r, id_ in enumerate(ids)
        ]
        return run_talk(self.name, target, parameters, specs)


def run_talk(
    name: str, target: Target, parameters: Parameters, specs: Sequence[MemberSpec]
) -> Result:
    """Connect the members, let them talk, and return the figures and failed checks."""
    result = Result(name)
    with Fleet(target, parameters.processes, text_bytes=parameters.text_bytes) as fleet:
        first_ids = join(fleet, specs)
        replies = fleet.talk(talk_now(parameters))
        result.figures["deliveries/s"] = sum(r.heard / r.seconds for r in replies)
        result.figures["messages/s"] = sum(len(r.latencies) / r.seconds for r in replies)
        result.add_latencies(latencies(replies))
        result.wrong += check(fleet, target, specs, first_ids, sent_by_room(replies))
    return result


def join(fleet: Fleet, specs: Sequence[MemberSpec], *, timeout: float = 60) -> dict[int, str]:
    """Connect the members, the first of every room before the others.

    `specs` must begin with one member of each room. Either part may take `timeout` seconds.
    Returns what Fleet.connect returns.
    """
    rooms = len({spec.room for spec in specs})
    first_ids = fleet.connect(specs[:rooms], timeout=timeout)
    first_ids.update(fleet.connect(specs[rooms:], timeout=timeout))
    return first_ids


def talk_now(parameters: Parameters) -> Talk:
    """Return a command to warm up and then talk for the time to be measured, from now on."""
    start = time.monotonic() + _START_DELAY
    seconds = DEFAULT_SECONDS if parameters.seconds is None else parameters.seconds
    measure_from = start + min(WARM_UP, seconds)
    until = measure_from + seconds
    return Talk(start, measure_from, until, parameters.window, rate=parameters.rate)


def latencies(replies: Sequence[Talked]) -> list[float]:
    """Return the latencies that all processes measured, in seconds."""
    return [seconds for reply in replies for seconds in reply.latencies]


def sent_by_room(replies: Sequence[Talked]) -> dict[str, int]:
    """Return by room id how many chat messages all processes sent."""
    total: dict[str, int] = {}
    for reply in replies:
        for room, count in reply.sent.items():
            total[room] = total.get(room, 0) + count
    return total
