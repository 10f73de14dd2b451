"""Whether a connection was closed by the server for a reason that holds."""

from collections.abc import Iterator

from sharechat.actors.policy import Policy
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

_MOMENT = 0.1
"""Seconds within which what comes counts as coming at once, before the client has its turn."""

_AHEAD = 24
"""More messages than wait between a member's mailbox and its client."""

_LEAST_BYTES = 200
"""Fewer bytes than any message has in JSON."""

_TOO_MANY = 4
"""Fewer messages than a mailbox can hold, whatever the limits."""


def closed_for_a_reason(world: World, connection: ClientState, policy: Policy) -> Iterator[str]:
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
        # While it catches up, or waits to be told that it has joined, it takes nothing.
        heard = any(at < closed_at - _MOMENT for at, _ in connection.heard)
        waits = connection.after is not None or not heard
        # A mailbox keeps a place for the request to drain.
        room = min(policy.max_waiting_batches - 1, policy.max_waiting_bytes // _LEAST_BYTES)
        at_once = _count(world, connection, closed_at - _MOMENT, closed_at)
        justified = slow or (away and waits) or at_once > room
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
    return _count(world, connection, since, closed_at) < _TOO_MANY


def _count(world: World, connection: ClientState, since: float, until: float) -> int:
    """Return how many messages the connection's room got in that time."""
    log = world.truth.log[connection.room_id]
    return sum(since <= commit.at <= until for commit in log)
