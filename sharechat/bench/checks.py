"""Checks that every member heard every message, once, in one order."""

from collections.abc import Mapping, Sequence

from sharechat.bench.commands import Drained, MemberSpec
from sharechat.bench.digesting import digest_of
from sharechat.bench.fleet import Fleet
from sharechat.bench.target import Target

_SECONDS_FOR_THE_REST = 60
"""How long members may take to hear all that has been stored."""


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
    if closed := closed_in(drained):
        return closed
    recorded = _recorded(drained)
    wrong = miscounted_in(drained)
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
    if closed := closed_in(drained):
        return closed
    wrong += miscounted_in(drained)
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


def check_digests(
    fleet: Fleet,
    target: Target,
    specs: Sequence[MemberSpec],
    lengths: Mapping[str, int],
    before: Mapping[str, int],
) -> list[str]:
    """Return a sentence for each thing that is wrong with what was heard since Fleet.mark.

    All members keep a digest. In every room each has to have heard the same messages in the same
    order, as many as `lengths` says by room id, which are all that the history has after the
    first `before`, and each talker all of its own. If the server closed a connection, only that
    is reported. Raises what `check` raises.
    """
    expected = {spec.number: lengths[spec.room] for spec in specs}
    drained = fleet.drain(expected, timeout=_SECONDS_FOR_THE_REST)
    if closed := closed_in(drained):
        return closed
    wrong = miscounted_in(drained)
    if misheard := [number for part in drained for number in part.misheard]:
        wrong.append(f"member {misheard[0]} heard its own messages out of turn")
    digests = {number: digest for part in drained for number, digest in part.digests.items()}
    by_room: dict[str, set[int]] = {}
    for spec in specs:
        by_room.setdefault(spec.room, set()).add(digests[spec.number])
    if differing := [room for room, found in by_room.items() if len(found) > 1]:
        wrong.append(
            f"in {len(differing)} of the rooms members heard other messages than others, "
            "or in another order"
        )
    for room, found in by_room.items():
        history = target.history(room)
        if history is not None:
            new = [id_.encode() for id_ in history[before[room] :]]
            if {digest_of(new)} != found:
                wrong.append("the history has other messages, or another order")
    return list(dict.fromkeys(wrong))


def _recorded(drained: Sequence[Drained]) -> dict[int, list[str]]:
    return {number: ids for part in drained for number, ids in part.recorded.items()}


def closed_in(drained: Sequence[Drained]) -> list[str]:
    """Return a sentence if members have lost their connection."""
    closed = [why for part in drained for why in part.closed.values()]
    return [f"{len(closed)} of the members lost the connection; {closed[0]}"] if closed else []


def miscounted_in(drained: Sequence[Drained]) -> list[str]:
    """Return a sentence if members have heard too few or too many messages."""
    wrong = [counts for part in drained for counts in part.miscounted.values()]
    if not wrong:
        return []
    heard, expected = wrong[0]
    return [
        f"{len(wrong)} of the members heard the wrong number of messages, "
        f"for example {heard} instead of {expected}"
    ]
