"""What has to be done within some seconds: joining, answering, leaving, deleting, removing."""

from collections.abc import Iterator

from sharechat.actors.policy import Policy
from sharechat.domain.messages import MessageType
from tests.simulation.faults import STALLS, Fault
from tests.simulation.history import RECONCILE_INTERVAL, TIGHT_TTL, History, Limits
from tests.simulation.state import ClientState, ProcessState
from tests.simulation.timeliness import learned_by
from tests.simulation.world import World

_STORED_WITHIN = Policy.store_timeout + 0.5
"""Seconds until a text is stored, or the client is told that it is not."""

_JOINED_WITHIN = _STORED_WITHIN + 4.5
"""The same for a `joined`, if the room takes no mail until a call has timed out."""

_LEFT_WITHIN = 3.0
"""Seconds until a client's `left` is stored while the Repository works."""

_LEFT_AFTER_ERRORS_WITHIN = RECONCILE_INTERVAL + 2 * Policy.lease_interval + 3
"""The same after a bug: the Journal may have given up, and the Janitor notices."""

_DEAD_LEFT_WITHIN = 15.0
"""Seconds until the members of a killed process have left."""

_REMOVED_WITHIN = 9.0
"""Seconds until an empty room that is too old is removed while the Repository works."""

_UNDISTURBED = 1.0
"""Seconds that it takes to reach all processes if there are no faults at all."""


def kept_deadlines(world: World, history: History) -> Iterator[str]:
    for connection in world.connections:
        if connection.accepted_at is not None:
            yield from _joined(world, connection, connection.accepted_at)
            yield from _answered(world, connection)
            yield from _left(world, connection)
            yield from _deleted(world, connection, connection.accepted_at)
    for process in world.processes:
        if process.dead:
            yield from _dead(world, process)
    if history.limits is Limits.TIGHT:
        yield from _removed(world)


def _joined(world: World, connection: ClientState, accepted_at: float) -> Iterator[str]:
    """A client joins soon, or is told that it cannot."""
    by = accepted_at + _JOINED_WITHIN
    frozen = world.faults.between(accepted_at, by, {Fault.FROZEN}, connection.process.number)
    if frozen or connection.ended_at <= by:
        return
    at = stored_at(world, connection, MessageType.JOINED)
    if at > by:
        yield f"{connection} had neither joined nor been closed at {by:.3f}"


def _answered(world: World, connection: ClientState) -> Iterator[str]:
    """Each text is stored or refused in time, and so is the next one taken up."""
    if connection.after is not None:
        return  # A failure waits until the client has caught up.
    joined = next((at for at, _ in connection.heard), float("inf"))
    for number, submitted in enumerate(connection.submitted_at):
        # It waits until the one before it is settled.
        begins = max(submitted, joined, *connection.settled_at[max(0, number - 1) : number])
        settled = (*connection.settled_at, float("inf"))[min(number, connection.settled)]
        by = begins + _STORED_WITHIN
        if settled <= by or connection.dawdled or connection.ended_at <= by:
            continue
        if not world.faults.between(submitted, by, {Fault.FROZEN}, connection.process.number):
            yield f"{connection.consumed[number]!r} was neither stored nor refused at {by:.3f}"


def _left(world: World, connection: ClientState) -> Iterator[str]:
    """A client that has gone leaves, and so does one that the server has closed."""
    ends = (connection.noticed_at, connection.closed_at)
    ended = min((at for at in ends if at is not None), default=float("inf"))
    joined = stored_at(world, connection, MessageType.JOINED)
    process = connection.process
    if float("inf") in (ended, joined) or process.lost_lease_at is not None:
        return
    errors = world.faults.between(0, float("inf"), {Fault.ERRORS})
    within = _LEFT_AFTER_ERRORS_WITHIN if errors else _LEFT_WITHIN
    if joined > ended:
        # Perhaps it was committed after its `left` had been refused.
        within = _LEFT_AFTER_ERRORS_WITHIN
    by = process.calm_from(max(ended, joined), within) + within
    if world.dead_rooms.get(connection.room_id, float("inf")) <= by:
        return
    if stored_at(world, connection, MessageType.LEFT) > by:
        yield f"{connection} had not left at {by:.3f}"


def stored_at(world: World, connection: ClientState, type_: MessageType) -> float:
    """Return when a client's first entry of a type was stored; infinite if none was."""
    return next(
        (
            commit.at
            for commit in world.truth.log[connection.room_id]
            if commit.entry.message.member_id == connection.member_id
            and commit.entry.message.type is type_
        ),
        float("inf"),
    )


def _deleted(world: World, connection: ClientState, accepted_at: float) -> Iterator[str]:
    """The members of a room that is deleted are closed."""
    room_id = connection.room_id
    at = world.dead_rooms.get(room_id)
    joined = stored_at(world, connection, MessageType.JOINED)
    if at is None or joined > at or connection.holds_up_resuming:
        return
    process = connection.process
    by = learned_by(world, process, at, accepted_at, room_id, float("inf"))
    if not world.faults.between(at - 10, at + _UNDISTURBED, frozenset(Fault)):
        by = min(by, at + _UNDISTURBED)
    if connection.ended_at > by:
        yield f"{connection} was still in a deleted room at {by:.3f}"


def _dead(world: World, process: ProcessState) -> Iterator[str]:
    """The members of a killed process are made to leave if another process is running."""
    died = process.ended_at
    assert died is not None
    by = died + _DEAD_LEFT_WITHIN
    others = any(
        p.up_at is not None and p.up_at <= died and (p.ended_at or by) >= by
        for p in world.processes
    )
    if not others or world.faults.between(died - 2 * _DEAD_LEFT_WITHIN, by, STALLS):
        return
    for connection in world.connections:
        if connection.process is not process or world.dead_rooms.get(connection.room_id, by) < by:
            continue
        joined = stored_at(world, connection, MessageType.JOINED)
        if joined < by < stored_at(world, connection, MessageType.LEFT):
            yield f"{connection} of a dead process had not left at {by:.1f}"


def _removed(world: World) -> Iterator[str]:
    """A room that stays empty for too long is removed."""
    if world.faults.between(0, float("inf"), {Fault.CLOCK}):
        return
    for room_id, log in world.truth.log.items():
        last = max((commit.at for commit in log), default=world.truth.created_at[room_id])
        joined = {c.entry.message.member_id for c in log}
        left = {c.entry.message.member_id for c in log if c.entry.message.type is MessageType.LEFT}
        if joined != left:
            continue
        old_at = last + TIGHT_TTL
        by = min(p.calm_from(old_at, _REMOVED_WITHIN) for p in world.processes) + _REMOVED_WITHIN
        if world.dead_rooms.get(room_id, float("inf")) > by:
            yield f"{room_id} had not been removed at {by:.3f}"
