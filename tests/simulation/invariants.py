"""What must hold at the end of any history."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Message, MessageType
from sharechat.domain.outcomes import RESTARTING, ROOM_DELETED, TOO_SLOW, TRY_LATER
from tests.simulation.faults import REPOSITORY, STALLS
from tests.simulation.state import ClientState
from tests.simulation.timeliness import check_timeliness
from tests.simulation.world import World

_FAULTS_FELT = 20.0
"""Seconds after its end for which a fault may still be the reason for a close."""


def check(world: World) -> Iterator[str]:
    """Yield every violation."""
    logs = {id_: [c.entry.message for c in log] for id_, log in world.truth.log.items()}
    for room_id, log in logs.items():
        yield from _check_log(world, room_id, log)
    for connection in world.connections:
        log = logs[connection.room_id]
        yield from _check_heard(connection, log)
        yield from _check_said(world, connection, log)
        yield from _check_close(world, connection)
    yield from check_timeliness(world)


def _check_log(world: World, room_id: RoomId, log: Sequence[Message]) -> Iterator[str]:
    """Each member joins once, talks and leaves once, and said what is stored as its message."""
    here: set[str] = set()
    ever: set[str] = set()
    for seq, message in enumerate(log, 1):
        who = message.member_id
        match message.type:
            case MessageType.JOINED:
                if who in ever:
                    yield f"{room_id} {seq}: {who} joined twice"
                here.add(who)
                ever.add(who)
            case MessageType.CHAT | MessageType.LEFT if who not in here:
                yield f"{room_id} {seq}: {message.type} of {who}, who is not a member"
            case MessageType.LEFT:
                here.discard(who)
            case MessageType.CHAT if message.text not in world.member[who].consumed:
                yield f"{room_id} {seq}: {who} never said {message.text!r}"
            case MessageType.FAILED:
                yield f"{room_id} {seq}: a failure was stored"
    if here and room_id not in world.dead_rooms:
        yield f"{room_id}: still members at the end: {sorted(here)}"
    if any(earlier.sent > later.sent for earlier, later in pairwise(log)):
        yield f"{room_id}: time went back"


def _check_heard(connection: ClientState, log: Sequence[Message]) -> Iterator[str]:
    """What a client heard is one part of the log without gaps, and begins where it must."""
    heard = [m for _, m in connection.heard if m.type is not MessageType.FAILED]
    for _, message in connection.heard:
        if message.type is MessageType.FAILED and message.member_id != connection.member_id:
            yield f"{connection} heard another member's failure"
    if not heard:
        return
    ids = [message.id for message in log]
    if connection.after is None:
        first = heard[0]
        if first.type is not MessageType.JOINED or first.member_id != connection.member_id:
            yield f"{connection} heard {first.text!r} before its own joined"
        start = ids.index(first.id) if first.id in ids else 0
    else:
        start = ids.index(connection.after) + 1
    expected = log[start : start + len(heard)]
    if heard != expected:
        pairs = enumerate(zip(heard, expected, strict=False))
        at = next((i for i, (h, e) in pairs if h != e), len(expected)) + 1
        seqs = [ids.index(m.id) + 1 if m.id in ids else None for m in heard]
        yield f"{connection} heard {seqs} of {connection.room_id}, wrong from message {at} on"


def _check_said(world: World, connection: ClientState, log: Sequence[Message]) -> Iterator[str]:
    """What a client said was stored once and in order, or it was told that it was not."""
    said = [
        m.text for m in log if m.type is MessageType.CHAT and m.member_id == connection.member_id
    ]
    for text, times in Counter(said).items():
        if times > 1:
            yield f"{connection}: {text!r} was stored {times} times"
    failed = {world.said[m.id] for _, m in connection.heard if m.type is MessageType.FAILED}
    kept = [text for text in said if text not in failed]
    # If the client read everything, it knows which of its messages failed. A message that failed
    # may still have been stored later.
    known = connection.gone_at is None and not connection.dawdled
    if known and kept != sorted(kept, key=connection.consumed.index):
        yield f"{connection}: its messages were reordered: {kept}"
    if not known:
        return
    # The failure of its last message may have come while the connection was being closed.
    answered = connection.settled - (connection.closed_at is not None)
    for text in connection.consumed[: max(0, answered)]:
        if text not in failed and text not in said:
            yield f"{connection}: {text!r} was lost, and the client was not told"


def _check_close(world: World, connection: ClientState) -> Iterator[str]:
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
        justified = connection.dawdled or (away and connection.after is not None)
    else:
        justified = False
    if not justified:
        yield f"{connection} was closed for no reason: {close}"
