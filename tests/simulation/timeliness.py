"""How soon clients hear: within how many seconds after nothing hinders it any more."""

from collections.abc import Iterator

from sharechat.actors.policy import Policy
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import MessageType
from tests.simulation.faults import Disturbance, Fault
from tests.simulation.queue import noticed_at
from tests.simulation.redis_server import TIMEOUT
from tests.simulation.state import ClientState, ProcessState
from tests.simulation.world import Commit, World

_UNDISTURBED = 1.0
"""Seconds that anything takes to reach everybody if there are no faults at all."""

_TOLD = 1.5
"""Seconds from a process being told of something: it looks again after a second if that fails."""

_LOOK = Policy.follow_interval + _TOLD
"""The same if nobody told it: it looks at all rooms every few seconds."""

_LOOK_UNWELL = Policy.follow_interval_unwell + _TOLD
"""The same while it is known that the bus does not work."""

_AFTERMATH = 10.0
"""Seconds for which a fault that is over may still have an effect."""


def heard_in_time(world: World) -> Iterator[str]:
    for connection in world.connections:
        if not connection.dawdled and connection.accepted_at is not None:
            yield from _check(world, connection, connection.accepted_at)


def _check(world: World, connection: ClientState, since: float) -> Iterator[str]:
    """A client that reads hears each message soon after it was stored."""
    # The answer to what is said again comes after the copy in the log.
    heard = {m.id: at for at, m in reversed(connection.heard) if m.type is not MessageType.FAILED}
    log = world.truth.log[connection.room_id]
    own = next((c for c in log if c.entry.message.member_id == connection.member_id), None)
    if own is None:
        return
    if connection.after is not None:
        # It may take any time to catch up.
        if own.entry.message.id not in heard:
            return
        since = heard[own.entry.message.id]
    for commit in log[own.entry.seq - 1 :]:
        at = heard.get(commit.entry.message.id, float("inf"))
        if min(at, connection.ended_at) - max(commit.at, since) <= _UNDISTURBED:
            continue
        deadline = _deadline(world, connection, commit, since)
        if min(at, connection.ended_at) > deadline:
            text = commit.entry.message.text
            yield f"{connection} had not heard {text!r} at {deadline:.3f}"
            return


def _deadline(world: World, connection: ClientState, commit: Commit, since: float) -> float:
    """Return when a client must have heard an entry."""
    begins = max(commit.at, since)
    processes = (commit.process, connection.process.number)
    deadline = learned_by(
        world, connection.process, commit.at, since, connection.room_id, commit.entry.seq
    )
    if not any(
        world.faults.between(begins - _AFTERMATH, begins + _UNDISTURBED, frozenset(Fault), process)
        for process in processes
    ):
        return min(deadline, begins + _UNDISTURBED)
    return deadline


def _silent_cuts(world: World, process: ProcessState, at: float) -> Iterator[Disturbance]:
    """Yield the cuts that keep a process from noticing that its connections are reset.

    A probe that is lost in one is missed only later, and nothing else is sent meanwhile.
    """
    for fault in world.faults.all:
        silent = fault.fault is Fault.CUT and not fault.strength and fault.affects(process.number)
        if silent and fault.start <= at <= fault.end + TIMEOUT:
            yield fault


def _noticed_at(world: World, process: ProcessState, cut: Disturbance) -> float:
    """Return when a process must have noticed a cut: not while another one hides it, or frozen."""
    noticed = max(noticed_at(c) for c in (cut, *_silent_cuts(world, process, cut.start)))
    thaws = (
        fault.end
        for fault in world.faults.all
        if fault.fault is Fault.FROZEN
        and fault.affects(process.number)
        and fault.start <= noticed <= fault.end
    )
    return max(thaws, default=noticed)


def learned_by(
    world: World, process: ProcessState, at: float, since: float, room_id: RoomId, head: float
) -> float:
    """Return when a process must have acted upon a change of a room that it hears.

    At `at` the room's log grew up to `head`, or the room was removed if that is infinite. The
    process hears the room since `since`.
    """
    told = min(
        (when for when, known in process.learned[room_id] if when >= at and known >= head),
        default=float("inf"),
    )
    begins = max(at, since)
    deadlines = [
        process.calm_from(begins, _LOOK) + _LOOK,
        process.calm_from(max(told, since), _TOLD) + _TOLD,
    ]
    for cut in world.faults.all:
        if cut.fault is Fault.CUT and cut.affects(process.number):
            # The wait for the next look may have begun before the cut was noticed.
            looks_from = max(begins, _noticed_at(world, process, cut) + Policy.follow_interval)
            by = process.calm_from(looks_from, _LOOK_UNWELL) + _LOOK_UNWELL
            if by <= cut.end:
                deadlines.append(by)
    return min(deadlines)
