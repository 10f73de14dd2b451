"""How long things may take while all, or most, is well."""

from collections.abc import Iterator

from sharechat.domain.messages import MessageType
from tests.simulation.client import SimConnection
from tests.simulation.faults import STALLS, Fault
from tests.simulation.process import SimProcess
from tests.simulation.truth import Commit
from tests.simulation.world import World

_BUS_WORKS = 1.0
_BUS_AWAY = 7.0
"""A look at all rooms every 5 s, and the reading of what is missing."""
_DEAD = 15.0
_AFTERMATH = 10.0
"""How long a fault that is over may still be felt."""


def check_timeliness(world: World) -> Iterator[str]:
    for connection in world.connections:
        yield from _check_hearing(world, connection)
    for process in world.processes:
        if process.dead:
            yield from _check_dead(world, process)


def _check_hearing(world: World, connection: SimConnection) -> Iterator[str]:
    """Those who listen hear what is stored soon."""
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


def _may_take(world: World, connection: SimConnection, commit: Commit) -> float:
    def well(within: float, faults: frozenset[Fault]) -> bool:
        return not any(
            world.faults.between(commit.at - _AFTERMATH, commit.at + within, faults, whom)
            for whom in (commit.process, connection.process.number)
        )

    if well(_BUS_WORKS, frozenset(Fault)):
        return _BUS_WORKS
    return _BUS_AWAY if well(_BUS_AWAY, STALLS) else float("inf")


def _check_dead(world: World, process: SimProcess) -> Iterator[str]:
    """The members of a killed process are made to leave, if there is somebody to do it."""
    died = process.ended_at
    assert died is not None
    others = any(
        p.up_at is not None and p.up_at <= died and (p.ended_at or died + _DEAD) >= died + _DEAD
        for p in world.processes
    )
    if not others or world.faults.between(died - 2 * _DEAD, died + _DEAD, STALLS):
        return
    for room_id, log in world.truth.log.items():
        if world.dead_rooms.get(room_id, died + _DEAD) < died + _DEAD:
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
                if took > _DEAD:
                    yield f"{message.member_id} of a dead process left only after {took:.1f} s"
