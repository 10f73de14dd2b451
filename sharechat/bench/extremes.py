"""The workloads that are not about talking: many joins, many idle, much history, one slow."""

import json
import time
from dataclasses import dataclass, replace
from statistics import median
from typing import ClassVar

from sharechat.bench.checks import check
from sharechat.bench.fleet import Fleet, FleetError
from sharechat.bench.plan import Seat, Talk
from sharechat.bench.processes import listening_on, resident_bytes
from sharechat.bench.results import Result
from sharechat.bench.target import Target
from sharechat.bench.workloads import Conditions, join, period, sent

_SECONDS_TO_CLOSE = 20
_DOWNLOADS = 3
_BOUND = 60
"""Seconds that anything here may take."""


@dataclass(frozen=True)
class JoinStorm:
    """`members` join one room at once; over when all have heard each `joined` after their own."""

    members: int = 1000
    name: ClassVar[str] = "join-storm"

    def run(self, target: Target, conditions: Conditions) -> Result:
        room = target.make_room()
        # One is there before, so that it can say what the others have to hear.
        seats = [Seat(n, room, keeps=n in (0, 1)) for n in range(self.members + 1)]
        result = Result(self.name)
        with Fleet(target, conditions.processes, text_bytes=conditions.text_bytes) as fleet:
            first_ids = fleet.connect(seats[:1])
            began = time.monotonic()
            first_ids |= fleet.connect(seats[1:], at_once=self.members, seconds=_BOUND)
            # Member 0 hears every `joined`; the others are at most that far.
            everything = {seat.number: 0 for seat in seats}
            everything[0] = len(seats)
            fleet.settle(everything, seconds=_BOUND)
            result.wrong += check(fleet, target, seats, first_ids, {})
            ended = max(part.last_heard_at for part in fleet.settle(everything))
        result.figures["joins/s"] = self.members / (ended - began)
        return result


@dataclass(frozen=True)
class Idle:
    """What `members` in rooms of `in_room` cost the server, by its resident memory."""

    members: int = 2000
    in_room: int = 20
    name: ClassVar[str] = "idle"

    def run(self, target: Target, conditions: Conditions) -> Result:
        processes = listening_on(target.port)
        result = Result(self.name)
        self._join(target, conditions, self.in_room)  # Whatever is loaded only once.
        before = resident_bytes(processes)
        after = self._join(target, conditions, self.members)
        result.figures["memory"] = (after - before) / self.members / 1000
        return result

    def _join(self, target: Target, conditions: Conditions, members: int) -> int:
        """Let so many join, and leave again; return the server's memory in between."""
        rooms = [target.make_room() for _ in range(-(-members // self.in_room))]
        seats = [Seat(n, rooms[n % len(rooms)]) for n in range(members)]
        with Fleet(target, conditions.processes, text_bytes=conditions.text_bytes) as fleet:
            fleet.connect(seats, seconds=_BOUND)
            time.sleep(min(conditions.seconds, 10))
            return resident_bytes(listening_on(target.port))


@dataclass(frozen=True)
class History:
    """The history of a room of `messages`, filled by a few talkers first, read by one GET."""

    messages: int = 100_000
    talkers: int = 4
    name: ClassVar[str] = "history"

    def run(self, target: Target, conditions: Conditions) -> Result:
        room = target.make_room()
        seats = [Seat(n, room, talks=True) for n in range(self.talkers)]
        result = Result(self.name)
        with Fleet(target, conditions.processes, text_bytes=conditions.text_bytes) as fleet:
            fleet.connect(seats)
            now = time.monotonic()
            order = Talk(now, now, now + _BOUND, 16, quota=self.messages // self.talkers)
            stored = sum(sent(fleet.talk(order)).values())
            times = []
            for _ in range(_DOWNLOADS):
                began = time.monotonic()
                data = target.download(room)
                times.append(time.monotonic() - began)
            took = median(times)
        count = len(json.loads(data))
        if count != stored + len(seats):
            result.wrong.append(f"{count} messages in the history instead of {stored + len(seats)}")
        result.figures["messages/s"] = count / took
        result.figures["MB/s"] = len(data) / took / 1_000_000
        return result


@dataclass(frozen=True)
class SlowMember:
    """One among `members` stops reading while some talk: when is it closed, who suffers?"""

    members: int = 100
    talkers: int = 10
    text_bytes: int = 1024
    name: ClassVar[str] = "slow-member"

    def run(self, target: Target, conditions: Conditions) -> Result:
        room = target.make_room()
        seats = [Seat(n, room, talks=n < self.talkers) for n in range(self.members - 1)]
        slow = Seat(len(seats), room, reads=False)
        result = Result(self.name)
        with Fleet(target, conditions.processes, text_bytes=self.text_bytes) as fleet:
            join(fleet, seats)
            alone = Result("")
            answers = fleet.talk(period(conditions))
            alone.take_latencies([took for answer in answers for took in answer.latencies])
            result.figures["p99 alone"] = alone.figures["p99"]
            fleet.connect([slow])
            # Long enough for what the kernel holds for it (megabytes, on loopback) to fill.
            order = period(replace(conditions, seconds=max(conditions.seconds, _SECONDS_TO_CLOSE)))
            try:
                answers = fleet.talk(order)
            except FleetError as error:
                result.wrong.append(f"with one that does not read, {error}")
                return result
            result.take_latencies([took for answer in answers for took in answer.latencies])
            closed = [part.closed[slow.number] for part in answers if slow.number in part.closed]
            if closed:
                result.figures["closed after"] = closed[0] - order.start
            else:
                result.wrong.append("the member that does not read was not closed")
        return result
