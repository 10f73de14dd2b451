"""How long things may take while everything works, or almost everything."""

from collections.abc import Iterator

from sharechat.domain.messages import MessageType
from tests.simulation.faults import STALLS, Fault
from tests.simulation.state import ClientState, ProcessState
from tests.simulation.world import Commit, World

_HEARD_WITHIN = 1.0
"""Seconds until a member hears a message while the bus works."""

_HEARD_WITHOUT_BUS_WITHIN = 7.0
"""The same while the bus is away: a look at all rooms every 5 s, and reading what is missing."""

_LEFT_WITHIN = 15.0
"""Seconds until the members of a killed process have left."""

_AFTERMATH = 10.0
"""Seconds for which a fault that is over may still have an effect."""


def check_timeliness(world: World) -> Iterator[str]:
    for connection in world.connections:
        yield from _check_hearing(world, connection)
    for process in world.processes:
        if process.dead:
            yield from _check_dead(world, process)


def _check_hearing(world: World, connection: ClientState) -> Iterator[str]:
    """A client that reads hears each message soon after it was stored."""
    if connection.dawdled:
        return
    heard = {m.id: at for at, m in connection.heard if m.type is not MessageType.FAILED}
    log = world.truth.log[connection.room_id]
    own = next((c for c in log if c.entry.message.member_id == connection.member_id), None)
    if own is None or own.entry.message.id not in heard:
        return
    listens_from = heard[own.entry.message.id]
    for commit in log[own.entry.seq - 1 :]:
        at = heard.get(commit.entry.message.id)
        if at is None:
            break
        took = at - max(commit.at, listens_from)
        if took > _may_take(world, connection, commit):
            yield f"{connection} heard {commit.entry.message.text!r} only after {took:.3f} s"


def _may_take(world: World, connection: ClientState, commit: Commit) -> float:
    """Return within how many seconds of its commit a client must hear an entry."""

    def undisturbed(within: float, faults: frozenset[Fault]) -> bool:
        return not any(
            world.faults.between(commit.at - _AFTERMATH, commit.at + within, faults, process)
            for process in (commit.process, connection.process.number)
        )

    if undisturbed(_HEARD_WITHIN, frozenset(Fault)):
        return _HEARD_WITHIN
    if undisturbed(_HEARD_WITHOUT_BUS_WITHIN, STALLS):
        return _HEARD_WITHOUT_BUS_WITHIN
    return float("inf")


def _check_dead(world: World, process: ProcessState) -> Iterator[str]:
    """The members of a killed process are made to leave if another process is running."""
    died = process.ended_at
    assert died is not None
    others = any(
        p.up_at is not None
        and p.up_at <= died
        and (p.ended_at or died + _LEFT_WITHIN) >= died + _LEFT_WITHIN
        for p in world.processes
    )
    if not others or world.faults.between(died - 2 * _LEFT_WITHIN, died + _LEFT_WITHIN, STALLS):
        return
    for room_id, log in world.truth.log.items():
        if world.dead_rooms.get(room_id, died + _LEFT_WITHIN) < died + _LEFT_WITHIN:
            continue
        left = {
            c.entry.message.member_id: c.at for c in log if c.entry.message.type is MessageType.LEFT
        }
        for commit in log:
            message = commit.entry.message
            if (
                message.type is MessageType.JOINED
                and world.member[message.member_id].process is process
            ):
                took = left.get(message.member_id, float("inf")) - died
                if took > _LEFT_WITHIN:
                    yield f"{message.member_id} of a dead process left only after {took:.1f} s"
