"""What the real adapter promises: what one process publishes, the others hear or look for."""

from collections.abc import Iterator, Sequence

from sharechat.domain.ids import RoomId
from tests.simulation.conditions import Conditions
from tests.simulation.faults import Fault
from tests.simulation.redis_server import PROBE_INTERVAL, TIMEOUT
from tests.simulation.state import QueueRecord
from tests.simulation.world import World

_MAX_BACKOFF = 2.0
"""Seconds for which the adapter may wait before it connects again."""

_ROUND_TRIPS = 6
"""From a connection's being given up until Redis has confirmed the subscriptions on a new one."""

_MARGIN = 0.5
"""Seconds by which anything may be later."""

_DISTURBING = frozenset({Fault.CUT, Fault.NOISE, Fault.REDIS, Fault.FROZEN})


def carried_or_looked_for(world: World, conditions: Conditions) -> Iterator[str]:
    """Every process is told of what it may have missed, once nothing disturbs it for a while."""
    round_trip = conditions.latency + conditions.latency_back
    within = PROBE_INTERVAL + TIMEOUT + _MAX_BACKOFF + _ROUND_TRIPS * round_trip + _MARGIN
    for receiver in world.queues:
        yield from _subscribed(world, receiver, within)
        for sender in world.queues:
            if sender is not receiver:
                yield from _carried(world, sender, receiver, within)


def _subscribed(world: World, receiver: QueueRecord, within: float) -> Iterator[str]:
    """A process is told that it missed something once it hears a room."""
    for room_id, spans in receiver.wanted.items():
        for since, until in spans:
            by = _repaired_by(world, (receiver,), since, within)
            if by <= until and not _told(receiver, room_id, None, since, by):
                yield (
                    f"process {receiver.process.number} subscribed to {room_id} at {since:.3f} "
                    f"and was not told of it at {by:.3f}"
                )


def _carried(
    world: World, sender: QueueRecord, receiver: QueueRecord, within: float
) -> Iterator[str]:
    for at, room_id, seq in sender.published:
        if not any(since <= at < until for since, until in receiver.wanted[room_id]):
            continue
        by = _repaired_by(world, (sender, receiver), at, within)
        until = next(u for s, u in receiver.wanted[room_id] if s <= at < u)
        if by <= until and not _told(receiver, room_id, seq, at, by):
            yield (
                f"process {receiver.process.number} was not told at {by:.3f} of what process "
                f"{sender.process.number} published to {room_id} at {at:.3f}"
            )


def _told(receiver: QueueRecord, room_id: RoomId, seq: int | None, since: float, by: float) -> bool:
    """Return whether a process heard an entry, or was told to look, within the time."""
    return any(since <= at <= by for at in receiver.missed[room_id]) or any(
        since <= at <= by and heard == seq for at, heard in receiver.heard[room_id]
    )


def _repaired_by(world: World, queues: Sequence[QueueRecord], at: float, within: float) -> float:
    """Return when nothing has disturbed the queues since `at` for long enough; else infinite."""
    processes = [queue.process for queue in queues]
    start = at
    for fault in world.faults.all:
        disturbs = any(fault.affects(process.number) for process in processes)
        meanwhile = fault.start <= start + within and fault.end >= start
        if fault.fault in _DISTURBING and disturbs and meanwhile:
            start = fault.end
    by = start + within
    ends = (process.ended_at for process in processes)
    return by if all(end is None or end > by for end in ends) else float("inf")
