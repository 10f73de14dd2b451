"""Workloads beyond talking: many joins, idle members, a long history, and a slow member."""

import json
import time
from dataclasses import dataclass, replace
from statistics import median
from typing import ClassVar

from sharechat.bench.checks import check
from sharechat.bench.commands import MemberSpec, Talk
from sharechat.bench.fleet import Fleet, FleetError
from sharechat.bench.processes import pids_listening_on, resident_bytes
from sharechat.bench.results import Result
from sharechat.bench.target import Target
from sharechat.bench.workloads import (
    DEFAULT_SECONDS,
    Parameters,
    join,
    latencies,
    sent_by_room,
    talk_now,
)

_SECONDS_TO_CLOSE = 20
"""How long to wait, at least, for the server to close a slow member."""
_DOWNLOADS = 3
_TIMEOUT = 60
"""Seconds that any one step may take."""


@dataclass(frozen=True)
class JoinStorm:
    """`members` join at once: one room, or rooms of `room_size`.

    The clock stops when every one of them has heard each `joined` that follows its own.
    """

    members: int = 1000
    room_size: int | None = None
    name: ClassVar[str] = "join-storm"

    def run(self, target: Target, parameters: Parameters) -> Result:
        rooms = -(-self.members // (self.room_size or self.members))
        ids = [target.create_room() for _ in range(rooms)]
        # The first of each room joins before the storm and so records its whole log, for the check.
        specs = [
            MemberSpec(n, ids[n % rooms], records=n < 2 * rooms)
            for n in range(self.members + rooms)
        ]
        result = Result(self.name)
        with Fleet(target, parameters.processes, text_bytes=parameters.text_bytes) as fleet:
            first_ids = fleet.connect(specs[:rooms])
            began = time.monotonic()
            first_ids |= fleet.connect(specs[rooms:], concurrency=self.members, timeout=_TIMEOUT)
            # All are named, since `last_heard_at` must cover them; only of the first ones is it
            # known how much they will hear.
            expected = {spec.number: 0 for spec in specs}
            expected |= {n: len(specs[n::rooms]) for n in range(rooms)}
            fleet.drain(expected, timeout=_TIMEOUT)
            result.wrong += check(fleet, target, specs, first_ids, {})
            ended = max(reply.last_heard_at for reply in fleet.drain(expected))
        result.figures["joins/s"] = self.members / (ended - began)
        return result


@dataclass(frozen=True)
class Joins(JoinStorm):
    """`members` join rooms of ten at once, as they do when their server has been replaced."""

    members: int = 500
    room_size: int | None = 10
    name: ClassVar[str] = "joins"


@dataclass(frozen=True)
class Idle:
    """How much resident memory `members` idle members cost the server, in rooms of `room_size`."""

    members: int = 2000
    room_size: int = 20
    name: ClassVar[str] = "idle"

    def run(self, target: Target, parameters: Parameters) -> Result:
        pids = pids_listening_on(target.port)
        result = Result(self.name)
        # The first members cost more, for everything that the server loads only once.
        self._join(target, parameters, self.room_size)
        before = resident_bytes(pids)
        after = self._join(target, parameters, self.members)
        result.figures["memory"] = (after - before) / self.members / 1000
        return result

    def _join(self, target: Target, parameters: Parameters, members: int) -> int:
        """Let members join and leave again; return the server's memory in bytes in between."""
        rooms = [target.create_room() for _ in range(-(-members // self.room_size))]
        specs = [MemberSpec(n, rooms[n % len(rooms)]) for n in range(members)]
        with Fleet(target, parameters.processes, text_bytes=parameters.text_bytes) as fleet:
            fleet.connect(specs, timeout=_TIMEOUT)
            time.sleep(min(parameters.seconds or DEFAULT_SECONDS, 10))
            return resident_bytes(pids_listening_on(target.port))


@dataclass(frozen=True)
class History:
    """One GET reads the history of a room, which `talkers` fill with `messages` first."""

    messages: int = 100_000
    talkers: int = 4
    name: ClassVar[str] = "history"

    def run(self, target: Target, parameters: Parameters) -> Result:
        room = target.create_room()
        specs = [MemberSpec(n, room, talks=True) for n in range(self.talkers)]
        result = Result(self.name)
        with Fleet(target, parameters.processes, text_bytes=parameters.text_bytes) as fleet:
            fleet.connect(specs)
            now = time.monotonic()
            fill = Talk(now, now, now + _TIMEOUT, window=16, quota=self.messages // self.talkers)
            stored = len(specs) + sum(sent_by_room(fleet.talk(fill)).values())
            times = []
            for _ in range(_DOWNLOADS):
                began = time.monotonic()
                data = target.download(room)
                times.append(time.monotonic() - began)
        seconds = median(times)
        count = len(json.loads(data))
        if count != stored:
            result.wrong.append(f"the history has {count} messages instead of {stored}")
        result.figures["messages/s"] = count / seconds
        result.figures["MB/s"] = len(data) / seconds / 1_000_000
        return result


@dataclass(frozen=True)
class SlowMember:
    """One of `members` stops reading while `talkers` talk.

    The figures are the latencies of the others, `p99 alone` before the slow member joins,
    and the seconds until the server resets the slow member's connection. That one is missing
    if the server closed the connection without a reset.
    """

    members: int = 100
    talkers: int = 10
    text_bytes: int = 1024
    name: ClassVar[str] = "slow-member"

    def run(self, target: Target, parameters: Parameters) -> Result:
        room = target.create_room()
        specs = [MemberSpec(n, room, talks=n < self.talkers) for n in range(self.members - 1)]
        slow = MemberSpec(len(specs), room, reads=False)
        result = Result(self.name)
        with Fleet(target, parameters.processes, text_bytes=self.text_bytes) as fleet:
            join(fleet, specs)
            alone = Result(self.name)
            alone.add_latencies(latencies(fleet.talk(talk_now(parameters))))
            result.figures["p99 alone"] = alone.figures["p99"]
            fleet.connect([slow])
            # The kernel's own buffers, megabytes on loopback, have to fill up first.
            seconds = max(parameters.seconds or DEFAULT_SECONDS, _SECONDS_TO_CLOSE)
            command = talk_now(replace(parameters, seconds=seconds, rate=None))
            try:
                replies = fleet.talk(command)
            except FleetError as error:
                result.wrong.append(f"while one member did not read: {error}")
                return result
            result.add_latencies(latencies(replies))
            closed = [r.closed[slow.number] for r in replies if slow.number in r.closed]
            if closed:
                result.figures["closed after"] = closed[0] - command.start
            # A close that the server could still write to the kernel's buffers is followed by no
            # reset, so the socket of who does not read shows nothing of it.
            elif target.count_members(room) > len(specs):
                result.wrong.append("the member that does not read was not closed")
        return result
