"""Workloads of many members: for long, all coming back at once, and all in one room."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import ClassVar

from sharechat.bench.checks import check, check_digests
from sharechat.bench.commands import MemberSpec, Talked
from sharechat.bench.fleet import Fleet
from sharechat.bench.processes import MemoryLog
from sharechat.bench.results import Result
from sharechat.bench.target import Target
from sharechat.bench.workloads import Parameters, join, sent_by_room, talk_now

_LOAD = 0.7
"""The share of what the server carries at most, at which a soak talks."""
_SECONDS_FOR_CAPACITY = 10.0
"""How long to find out what the server carries, at most."""
_SAMPLES = 60
"""How often the memory is looked at."""
_MAX_LATE = 5.0
"""Seconds by which a client process may be behind with sending."""
_SLOWEST_JOINS = 25
"""Joins a second below which members count as refused."""
_SECONDS_TO_SETTLE = 60
"""How long it may take until everyone has heard everything."""


@dataclass(frozen=True)
class Soak:
    """A share of `members` in rooms of `room_size` talks for a long time, at 70 % load.

    What the server carries is measured first, unless the parameters name a rate. The latencies
    are those of all deliveries to all members.
    """

    members: int = 20_000
    room_size: int | None = 10
    seconds: float = 600
    """How long it measures by default."""
    name: ClassVar[str] = "soak"

    def run(self, target: Target, parameters: Parameters) -> Result:
        seconds = self.seconds if parameters.seconds is None else parameters.seconds
        room_size = self.room_size or self.members
        specs = _in_rooms(target, self.members, room_size, self._talkers(parameters))
        result = Result(self.name)
        with Fleet(target, parameters.processes, text_bytes=parameters.text_bytes) as fleet:
            before = _gather(fleet, target, specs, result)
            if result.wrong:
                return result
            rate = parameters.rate
            if rate is None:
                brief = replace(parameters, seconds=min(seconds, _SECONDS_FOR_CAPACITY))
                rate = _LOAD * _capacity(fleet, brief, specs, before, result)
            memory = MemoryLog(target.port, seconds / _SAMPLES)
            command = talk_now(replace(parameters, seconds=seconds, rate=rate))
            replies = fleet.talk(command, meanwhile=memory.look, may_lose=True)
            _add_figures(result, replies)
            _add_memory(result, memory)
            _check_all(fleet, target, specs, replies, before, result)
        return result

    def _talkers(self, parameters: Parameters) -> int:
        return max(1, round(parameters.talking * self.members))


@dataclass(frozen=True)
class LargeRoom(Soak):
    """One talks in a room of `members`, at 70 % load."""

    members: int = 10_000
    room_size: int | None = None
    seconds: float = 60
    name: ClassVar[str] = "large-room"

    def _talkers(self, parameters: Parameters) -> int:  # noqa: ARG002
        return 1


@dataclass(frozen=True)
class Comeback:
    """`members` in rooms of `room_size` lose their connections and come back, all at once.

    `restart` restarts the server and returns once it is ready. Without it the connections are
    dropped by the members. The clock runs from the moment at which all begin to come back, each
    as often as the client library would try, until the last is in its room again.
    """

    members: int = 10_000
    room_size: int = 10
    restart: Callable[[], None] | None = None
    name: ClassVar[str] = "comeback"

    def run(self, target: Target, parameters: Parameters) -> Result:
        specs = _in_rooms(target, self.members, self.room_size, 0)
        result = Result(self.name)
        with Fleet(target, parameters.processes, text_bytes=parameters.text_bytes) as fleet:
            before = _gather(fleet, target, specs, result)
            if result.wrong:
                return result
            if self.restart:
                self.restart()
            start, replies = fleet.come_back(timeout=_patience(self.members))
            times = sorted(at - start for reply in replies for at in reply.joined_at)
            refusals = sum((reply.refusals for reply in replies), Counter[str]())
            result.details["refusals"] = dict(refusals)
            result.figures["refused attempts"] = refusals.total()
            if failures := [failure for reply in replies for failure in reply.failures]:
                result.wrong.append(
                    f"{len(failures)} of the members did not come back; {failures[0]}"
                )
                return result
            result.figures["half back after"] = median(times)
            result.figures["all back after"] = times[-1]
            result.figures["joins/s"] = self.members / times[-1]
            lengths = _settle(fleet, target, specs, before)
            result.wrong += check_digests(fleet, target, specs, lengths, before)
            for room, members in before.items():
                if target.count_members(room) != members:
                    result.wrong.append("a room has other members than those that came back")
                    break
        return result


def _in_rooms(target: Target, members: int, room_size: int, talkers: int) -> list[MemberSpec]:
    """Make rooms; return members that are spread over them, and begin with one of each room."""
    rooms = [target.create_room() for _ in range(-(-members // room_size))]
    # Half of the others join before those that talk.
    return [
        MemberSpec(
            number,
            rooms[number % len(rooms)],
            talks=(number - members // 2) % members < talkers,
            records=number < len(rooms),
            digests=True,
        )
        for number in range(members)
    ]


def _gather(
    fleet: Fleet, target: Target, specs: Sequence[MemberSpec], result: Result
) -> dict[str, int]:
    """Let all members join, check what they heard of each other, and let them digest from then on.

    Returns by room id how many have joined.
    """
    first_ids = join(fleet, specs, timeout=_patience(len(specs)))
    result.wrong += check(fleet, target, specs, first_ids, {})
    fleet.mark()
    return Counter(spec.room for spec in specs)


def _patience(members: int) -> float:
    """Return the seconds that it may take so many members to join."""
    return 60 + members / _SLOWEST_JOINS


def _capacity(
    fleet: Fleet,
    parameters: Parameters,
    specs: Sequence[MemberSpec],
    before: dict[str, int],
    result: Result,
) -> float:
    """Return how many messages a second the server carries, and add to the figures.

    Each talker says the next thing as soon as it hears the last. What counts is how fast all hear
    it: the others may be behind the talker.
    """
    replies = fleet.talk(talk_now(replace(parameters, rate=None)))
    lengths = dict.fromkeys(before, 0) | sent_by_room(replies)
    fleet.drain({spec.number: lengths[spec.room] for spec in specs}, timeout=_SECONDS_TO_SETTLE)
    deliveries = sum(reply.heard / reply.seconds for reply in replies)
    returned = sum(len(reply.latencies) / reply.seconds for reply in replies)
    capacity = min(returned, deliveries * len(before) / len(specs))
    result.figures["most messages/s"] = capacity
    result.figures["most deliveries/s"] = deliveries
    return capacity


def _add_figures(result: Result, replies: Sequence[Talked]) -> None:
    result.figures["deliveries/s"] = sum(r.heard / r.seconds for r in replies)
    result.figures["messages/s"] = sum(len(r.latencies) / r.seconds for r in replies)
    delays = sum((reply.delays for reply in replies), Counter[int]())
    result.add_delays(delays)
    result.details["deliveries"] = delays.total()


def _add_memory(result: Result, memory: MemoryLog) -> None:
    if sizes := [size for _, size in memory.samples]:
        result.figures["memory at first"] = sizes[0]
        result.figures["memory at last"] = sizes[-1]
        result.figures["memory at most"] = max(sizes)
        result.details["memory"] = memory.samples


def _check_all(
    fleet: Fleet,
    target: Target,
    specs: Sequence[MemberSpec],
    replies: Sequence[Talked],
    before: dict[str, int],
    result: Result,
) -> None:
    """Check that all that was sent at the rate it should be was heard by all."""
    if held := sum(reply.held for reply in replies):
        result.wrong.append(f"{held} messages were not sent: too many before them were not back")
    result.details["late"] = late = max(reply.late for reply in replies)
    if late > _MAX_LATE:
        result.wrong.append(f"the client processes were behind by up to {late:.1f} s")
    lengths = dict.fromkeys(before, 0) | sent_by_room(replies)
    result.wrong += check_digests(fleet, target, specs, lengths, before)


def _settle(
    fleet: Fleet, target: Target, specs: Sequence[MemberSpec], before: dict[str, int]
) -> dict[str, int]:
    """Wait until all that left and came back are in the logs; return by room how many entries.

    Each has left and joined once, or more often if it did not hear in time that it had.
    """
    deadline = time.monotonic() + _SECONDS_TO_SETTLE
    fleet.drain({s.number: 2 * before[s.room] for s in specs}, timeout=_SECONDS_TO_SETTLE)
    lengths: dict[str, int] = {}
    while True:
        previous = lengths
        histories = {room: target.history(room) for room in before}
        lengths = {
            room: 2 * joined if (ids := histories[room]) is None else len(ids) - joined
            for room, joined in before.items()
        }
        if lengths == previous or time.monotonic() > deadline:
            return lengths
        time.sleep(1)
