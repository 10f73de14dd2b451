"""What has to hold at the end of any history."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Message, MessageType
from sharechat.domain.outcomes import RESTARTING, ROOM_DELETED, TOO_SLOW, TRY_LATER
from tests.simulation.client import SimConnection
from tests.simulation.faults import REPOSITORY, STALLS
from tests.simulation.timeliness import check_timeliness
from tests.simulation.world import World


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
    """Members come, talk and go, each once; and nobody is made up."""
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
                yield f"{room_id} {seq}: {message.type} of {who}, who is not here"
            case MessageType.LEFT:
                here.discard(who)
            case MessageType.CHAT if message.text not in world.member[who].consumed:
                yield f"{room_id} {seq}: {who} never said {message.text!r}"
            case MessageType.FAILED:
                yield f"{room_id} {seq}: a failure was stored"
    if here and room_id not in world.dead_rooms:
        yield f"{room_id}: still here at the end: {sorted(here)}"
    if any(earlier.sent > later.sent for earlier, later in pairwise(log)):
        yield f"{room_id}: time went back"


def _check_heard(connection: SimConnection, log: Sequence[Message]) -> Iterator[str]:
    """What was heard is one piece of the log, from where it had to begin."""
    heard = [m for _, m in connection.heard if m.type is not MessageType.FAILED]
    for _, message in connection.heard:
        if message.type is MessageType.FAILED and message.member_id != connection.member_id:
            yield f"{connection} heard of another's failure"
    if not heard:
        return
    ids = [message.id for message in log]
    if connection.after is None:
        first = heard[0]
        if first.type is not MessageType.JOINED or first.member_id != connection.member_id:
            yield f"{connection} heard {first.text!r} before its own joining"
        start = ids.index(first.id) if first.id in ids else 0
    else:
        start = ids.index(connection.after) + 1
    there = log[start : start + len(heard)]
    if heard != there:
        pairs = enumerate(zip(heard, there, strict=False))
        at = next((i for i, (h, t) in pairs if h != t), len(there)) + 1
        seqs = [ids.index(m.id) + 1 if m.id in ids else None for m in heard]
        yield f"{connection} heard {seqs} of {connection.room_id}, wrong from message {at} on"


def _check_said(world: World, connection: SimConnection, log: Sequence[Message]) -> Iterator[str]:
    """What was said was stored once and in order, or its sender was told that it was not."""
    said = [
        m.text for m in log if m.type is MessageType.CHAT and m.member_id == connection.member_id
    ]
    for text, times in Counter(said).items():
        if times > 1:
            yield f"{connection}: {text!r} was stored {times} times"
    failed = {world.said[m.id] for _, m in connection.heard if m.type is MessageType.FAILED}
    kept = [text for text in said if text not in failed]
    # A failure that could not be told may have been stored late, too.
    known = connection.gone_at is None and not connection.dawdled
    if known and kept != sorted(kept, key=connection.consumed.index):
        yield f"{connection}: its messages changed places: {kept}"
    if not known:
        return
    # The last one's failure may have come when the connection was closing.
    answered = connection.settled - (connection.closed_at is not None)
    for text in connection.consumed[: max(0, answered)]:
        if text not in failed and text not in said:
            yield f"{connection}: {text!r} is lost, and nobody was told"


def _check_close(world: World, connection: SimConnection) -> Iterator[str]:
    """Whoever is sent away is so for a reason, which is told."""
    closed_at, process, close = connection.closed_at, connection.process, connection.close
    if closed_at is None:
        yield f"{connection} is open at the end"
        return
    if process.ended_at is not None and closed_at >= process.ended_at:
        return
    if connection.gone_at is not None or not connection.accepted:
        return
    lasted = 20.0
    faulty = world.faults.between(closed_at - lasted, closed_at, STALLS, process.number)
    away = world.faults.between(closed_at - lasted, closed_at, REPOSITORY, process.number)
    if close == ROOM_DELETED:
        fair = connection.room_id in world.dead_rooms
    elif close == RESTARTING:
        fair = process.lost_lease_at is not None and process.lost_lease_at <= closed_at
    elif close == TRY_LATER:
        fair = faulty and (connection.after is not None or not connection.heard)
    elif close == TOO_SLOW:
        fair = connection.dawdled or (away and connection.after is not None)
    else:
        fair = False
    if not fair:
        yield f"{connection} was closed for no reason: {close}"
