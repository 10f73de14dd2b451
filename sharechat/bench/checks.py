"""Did every member hear everything, once, in one order?"""

from collections.abc import Mapping, Sequence

from sharechat.bench.fleet import Fleet
from sharechat.bench.plan import Seat, Settled
from sharechat.bench.target import Target


def check(
    fleet: Fleet,
    target: Target,
    seats: Sequence[Seat],
    first_ids: Mapping[int, str],
    sent: Mapping[str, int],
) -> list[str]:
    """Return what is wrong, in words; an empty list if all is well.

    `seats` are all who were ever in their rooms, and are in them still. In every room the
    first one of them joined before the others, and keeps what it hears: that is the log,
    of which each other member must have heard all from its own `joined` on.
    """
    rooms: dict[str, list[Seat]] = {}
    for seat in seats:
        rooms.setdefault(seat.room, []).append(seat)
    scribes = {room: there[0].number for room, there in rooms.items()}
    lengths = {scribes[room]: len(there) + sent.get(room, 0) for room, there in rooms.items()}
    settled = fleet.settle(lengths)
    streams = _streams(settled)
    wrong = _miscounted(settled)
    starts, logs = {}, {}
    for room, scribe in scribes.items():
        logs[room] = streams[scribe]
        starts[room] = {id_: index for index, id_ in enumerate(logs[room])}
        if len(starts[room]) != len(logs[room]):
            wrong.append(f"member {scribe} heard a message twice")
    expected = {}
    for seat in seats:
        start = starts[seat.room].get(first_ids[seat.number])
        if not seat.reads:
            continue
        if start is None:
            wrong.append(f"member {seat.number} heard what member {scribes[seat.room]} did not")
        else:
            expected[seat.number] = len(logs[seat.room]) - start
    settled = fleet.settle(expected)
    wrong += _miscounted(settled)
    by_number = {seat.number: seat for seat in seats}
    for number, stream in _streams(settled).items():
        if logs[by_number[number].room][-len(stream) :] != stream:
            wrong.append(f"member {number} heard another order")
    for room, log in logs.items():
        history = target.history(room)
        if history is not None and history[: len(log)] != log:
            same = sorted(history) == sorted(log)
            wrong.append(f"the history has another {'order' if same else 'content'}")
    return list(dict.fromkeys(wrong))


def _streams(settled: Sequence[Settled]) -> dict[int, list[str]]:
    return {number: ids for part in settled for number, ids in part.streams.items()}


def _miscounted(settled: Sequence[Settled]) -> list[str]:
    wrong = [pair for part in settled for pair in part.wrong.values()]
    if not wrong:
        return []
    heard, expected = wrong[0]
    return [f"{len(wrong)} members miscounted: {heard} messages instead of {expected}"]
