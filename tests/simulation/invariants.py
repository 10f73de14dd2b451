"""What must hold at the end of any history."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Message, MessageType
from tests.simulation.carrying import carried_or_looked_for
from tests.simulation.closing import closed_for_a_reason
from tests.simulation.conditions import CONDITIONS
from tests.simulation.deadlines import kept_deadlines
from tests.simulation.endings import ends_in_order
from tests.simulation.history import BusKind, History
from tests.simulation.repeats import answers_are_copies, in_place, is_welcomed
from tests.simulation.state import ClientState
from tests.simulation.texts import (
    failures_are_for_a_reason,
    given_is_stored,
    last_words_are_stored,
    rate_is_kept,
    said_is_answered,
)
from tests.simulation.timeliness import heard_in_time
from tests.simulation.world import World


def check(world: World, history: History) -> Iterator[str]:
    """Yield every violation."""
    logs = {id_: [c.entry.message for c in log] for id_, log in world.truth.log.items()}
    for room_id, log in logs.items():
        yield from _check_log(world, room_id, log)
    for connection in world.connections:
        log = logs[connection.room_id]
        yield from _check_heard(connection, log)
        yield from answers_are_copies(connection, log)
        yield from is_welcomed(connection)
        yield from said_is_answered(world, connection, log)
        yield from failures_are_for_a_reason(world, connection)
        yield from last_words_are_stored(world, connection)
        yield from given_is_stored(world, connection, log)
        yield from rate_is_kept(connection, history.policy)
        yield from closed_for_a_reason(world, connection, history.policy)
        yield from ends_in_order(world, connection)
    yield from heard_in_time(world)
    yield from kept_deadlines(world, history)
    if history.bus is not BusKind.FAKE:
        yield from carried_or_looked_for(world, CONDITIONS[history.bus])


def _check_log(world: World, room_id: RoomId, log: Sequence[Message]) -> Iterator[str]:
    """Each member joins once, talks and leaves once, and said what is stored as its message."""
    here: set[str] = set()
    ever: set[str] = set()
    ids: set[str] = set()
    for seq, message in enumerate(log, 1):
        who = message.member_id
        if message.id in ids:
            yield f"{room_id} {seq}: {message.id} was stored twice"
        ids.add(message.id)
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
            case MessageType.CHAT if not _has_its_id(world, message):
                yield f"{room_id} {seq}: {message.text!r} was said with another id"
            case MessageType.FAILED:
                yield f"{room_id} {seq}: a failure was stored"
    if here and room_id not in world.dead_rooms:
        yield f"{room_id}: still members at the end: {sorted(here)}"
    if any(earlier.sent > later.sent for earlier, later in pairwise(log)):
        yield f"{room_id}: time went back"


def _has_its_id(world: World, message: Message) -> bool:
    """Return whether a text is stored with the id that its author has chosen."""
    chosen = world.member[message.member_id].author.chooses_ids
    return not chosen or world.said.get(message.id) == message.text


def _check_heard(connection: ClientState, log: Sequence[Message]) -> Iterator[str]:
    """What a client heard is one part of the log without gaps, and begins where it must."""
    heard = [m for _, m in connection.heard if m.type is not MessageType.FAILED]
    for number, (_, message) in enumerate(connection.heard):
        if message.type is MessageType.FAILED and message.member_id != connection.member_id:
            yield f"{connection} heard another member's failure"
        elif message.type is MessageType.FAILED and number == 0 and connection.after is None:
            yield f"{connection} heard a failure before its own joined"
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
    heard = in_place(connection, heard, log, start)
    expected = log[start : start + len(heard)]
    if heard != expected:
        pairs = enumerate(zip(heard, expected, strict=False))
        at = next((i for i, (h, e) in pairs if h != e), len(expected)) + 1
        seqs = [ids.index(m.id) + 1 if m.id in ids else None for m in heard]
        yield f"{connection} heard {seqs} of {connection.room_id}, wrong from message {at} on"
