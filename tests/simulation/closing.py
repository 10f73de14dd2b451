"""Whether a connection was closed by the server for a reason that holds."""

from collections.abc import Iterator

from sharechat.domain.outcomes import (
    INTERNAL_ERROR,
    RESTARTING,
    ROOM_DELETED,
    TOO_SLOW,
    TRY_LATER,
)
from tests.simulation.faults import REPOSITORY, STALLS, Fault
from tests.simulation.state import ClientState
from tests.simulation.world import World

_FAULTS_FELT = 20.0
"""Seconds after its end for which a fault may still be the reason for a close."""

_AT_ONCE = 0.1
"""Seconds after a client's first message within which it takes what had to wait for that one."""

_AHEAD = 24
"""More messages than wait between a member's mailbox and its client."""

_TOO_MANY = 4
"""Fewer messages than a mailbox can hold, whatever the limits."""


def closed_for_a_reason(world: World, connection: ClientState) -> Iterator[str]:
    """A connection is closed by the server only for a reason that holds and that it gives."""
    closed_at, process, close = connection.closed_at, connection.process, connection.close
    if closed_at is None:
        yield f"{connection} is open at the end"
        return
    if process.ended_at is not None and closed_at >= process.ended_at:
        return
    if connection.gone_at is not None or not connection.accepted:
        return
    faulty = world.faults.between(closed_at - _FAULTS_FELT, closed_at, STALLS, process.number)
    away = world.faults.between(closed_at - _FAULTS_FELT, closed_at, REPOSITORY, process.number)
    if close == ROOM_DELETED:
        justified = connection.room_id in world.dead_rooms
    elif close == RESTARTING:
        justified = process.lost_lease_at is not None and process.lost_lease_at <= closed_at
    elif close == TRY_LATER:
        justified = faulty and (connection.after is not None or not connection.heard)
    elif close == TOO_SLOW:
        # What is on its way takes up room in the kernels, so a distant client is slow, too.
        may_be = connection.dawdled or connection.latency > 0
        slow = may_be and not _keeps_up(world, connection, closed_at)
        # While it catches up, or waits to be told that it has joined, it takes nothing; what the
        # room has for it then comes all at once.
        waits = connection.after is not None or not connection.heard
        waited = bool(connection.heard) and closed_at - connection.heard[0][0] < _AT_ONCE
        justified = slow or (away and (waits or waited))
    elif close == INTERNAL_ERROR:
        errors = {Fault.ERRORS}
        justified = world.faults.between(closed_at - 5, closed_at, errors, process.number)
    else:
        justified = False
    if not justified:
        yield f"{connection} was closed for no reason: {close}"


def _keeps_up(world: World, connection: ClientState, closed_at: float) -> bool:
    """Return whether a client that reads steadily has read as fast as others spoke.

    What it was sent before does not count: it may be slow to take a long history.
    """
    if connection.pace is None or connection.accepted_at is None:
        return False
    times = [connection.accepted_at] * _AHEAD + [at for at, _ in connection.heard]
    since = times[-_AHEAD]
    log = world.truth.log[connection.room_id]
    return sum(since <= commit.at <= closed_at for commit in log) < _TOO_MANY
