"""Checks that every member heard every message, once, in one order."""

from collections.abc import Mapping, Sequence

from sharechat.bench.commands import Drained, MemberSpec
from sharechat.bench.fleet import Fleet
from sharechat.bench.target import Target


def check(
    fleet: Fleet,
    target: Target,
    specs: Sequence[MemberSpec],
    first_ids: Mapping[int, str],
    sent: Mapping[str, int],
) -> list[str]:
    """Return a sentence for each thing that is wrong; an empty list if all is well.

    `specs` must name everybody who ever joined these rooms. The first spec of each room must
    have joined before the others and record what it hears: that is the room's log, and every
    other member must have heard the part of it that begins with its own `joined`. `first_ids`
    holds the id of that `joined` by member number, `sent` the number of chat messages by room
    id. If the server closed a connection, only that is reported. Raises FleetError if a
    client process fails, OSError if the history cannot be read.
    """
    rooms: dict[str, list[MemberSpec]] = {}
    for spec in specs:
        rooms.setdefault(spec.room, []).append(spec)
    recorders = {room: members[0].number for room, members in rooms.items()}
    lengths = {recorders[room]: len(members) + sent.get(room, 0) for room, members in rooms.items()}
    drained = fleet.drain(lengths)
    if closed := _closed(drained):
        return closed
    recorded = _recorded(drained)
    wrong = _miscounted(drained)
    positions, logs = {}, {}
    for room, recorder in recorders.items():
        logs[room] = recorded[recorder]
        positions[room] = {id_: position for position, id_ in enumerate(logs[room])}
        if len(positions[room]) != len(logs[room]):
            wrong.append(f"member {recorder} heard a message twice")
    expected = {}
    for spec in specs:
        if not spec.reads:
            continue
        start = positions[spec.room].get(first_ids[spec.number])
        if start is None:
            recorder = recorders[spec.room]
            wrong.append(f"member {spec.number} heard a message that member {recorder} did not")
        else:
            expected[spec.number] = len(logs[spec.room]) - start
    drained = fleet.drain(expected)
    if closed := _closed(drained):
        return closed
    wrong += _miscounted(drained)
    by_number = {spec.number: spec for spec in specs}
    for number, ids in _recorded(drained).items():
        if logs[by_number[number].room][-len(ids) :] != ids:
            wrong.append(f"member {number} heard messages in another order")
    for room, log in logs.items():
        history = target.history(room)
        if history is not None and history[: len(log)] != log:
            same = sorted(history) == sorted(log)
            wrong.append(f"the history has {'another order' if same else 'other messages'}")
    return list(dict.fromkeys(wrong))


def _recorded(drained: Sequence[Drained]) -> dict[int, list[str]]:
    return {number: ids for part in drained for number, ids in part.recorded.items()}


def _closed(drained: Sequence[Drained]) -> list[str]:
    closed = [why for part in drained for why in part.closed.values()]
    return [f"{len(closed)} of the members lost the connection; {closed[0]}"] if closed else []


def _miscounted(drained: Sequence[Drained]) -> list[str]:
    wrong = [counts for part in drained for counts in part.miscounted.values()]
    if not wrong:
        return []
    heard, expected = wrong[0]
    return [
        f"{len(wrong)} of the members heard the wrong number of messages, "
        f"for example {heard} instead of {expected}"
    ]
