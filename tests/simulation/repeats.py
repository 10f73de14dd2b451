"""What those hear who speak `sharechat.v1`: a welcome first, and an answer to each repeat."""

from collections import Counter
from collections.abc import Iterator, Sequence

from sharechat.domain.messages import Message, MessageType
from tests.simulation.state import ClientState


def in_place(
    connection: ClientState, heard: Sequence[Message], log: Sequence[Message], start: int
) -> list[Message]:
    """Return what was heard in its place in the log, from `start` on.

    Left out are the answers to what was said again. They repeat what the log has before the
    client's place in it: an answer never comes before the copy in the log.
    """
    if not connection.author.chooses_ids:
        return list(heard)
    said, index = set(connection.consumed), {m.id: number for number, m in enumerate(log)}
    place: list[Message] = []
    for message in heard:
        behind = index.get(message.id, len(log)) < start + len(place)
        if not (behind and message.text in said):
            place.append(message)
    return place


def answers_are_copies(connection: ClientState, log: Sequence[Message]) -> Iterator[str]:
    """A message is heard as it is stored, and no more often than it was said again."""
    if not connection.author.chooses_ids:
        return
    stored = {m.id: m for m in log}
    times = Counter(m.id for _, m in connection.heard if m.type is MessageType.CHAT)
    for id_, number in times.items():
        own = id_ in stored and stored[id_].member_id == connection.member_id
        # When it was said first, the copy in the log was the answer.
        allowed = 1 + connection.consumed.count(stored[id_].text if id_ in stored else "") - own
        if number > allowed:
            yield f"{connection} heard {id_} {number} times, not {allowed}"
    for _, message in connection.heard:
        if message.type is not MessageType.FAILED and stored.get(message.id) != message:
            yield f"{connection} heard {message.text!r}, which is not stored like that"


def is_welcomed(connection: ClientState) -> Iterator[str]:
    """The welcome names the client as the room's other members know it."""
    welcome = connection.welcome
    if welcome is None:
        return
    who = welcome.room_id, welcome.member_id
    if who != (connection.room_id, connection.member_id):
        yield f"{connection} was welcomed as {welcome}"
    own = {m.member_name for _, m in connection.heard if m.member_id == connection.member_id}
    if own - {welcome.member_name}:
        yield f"{connection} was welcomed as {welcome.member_name!r}, and is {sorted(own)}"
