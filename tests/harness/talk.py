"""Entries that one Queue publishes all the time, and what another one makes of them."""

from collections.abc import Sequence
from itertools import count

import trio

from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Queue
from tests.harness.deadline import DEADLINE
from tests.harness.queues import Recorder, make_entry, until_working
from tests.harness.redis_queues import impatient_queue
from tests.harness.waiting import until


class Talk:
    """Entries that one Queue publishes all the time, and what another one makes of them.

    A subscriber may miss an entry if it is then told to look at the room.
    """

    def __init__(self, queue: Queue, room_id: RoomId) -> None:
        self.recorder = Recorder()
        self._queue = queue
        self._room_id = room_id
        # Entries in the order of publishing, and for each the number of looks before it.
        self._published: list[tuple[Entry, int]] = []

    async def run(self) -> None:
        for seq in count(1):
            entry = make_entry(self._room_id, seq)
            self._published.append((entry, self._looks()))
            self._queue.publish(self._room_id, [entry])
            await trio.sleep(0.001)

    def _looks(self) -> int:
        return sum(self._room_id in rooms for rooms in self.recorder.all_missed)

    async def goes_on(self) -> None:
        """Wait until an entry is heard that was published after this call."""
        said = len(self._published)
        await until(
            lambda: any(entries[-1].seq > said for _, entries in self.recorder.all_heard),
            within=DEADLINE,
        )

    def unnoticed(self) -> Sequence[int]:
        """Return the entries that were neither heard nor followed by a look at the room."""
        heard = {entry.seq for _, entries in self.recorder.all_heard for entry in entries}
        looks = self._looks()
        last = max(heard)
        return [
            entry.seq
            for entry, looks_before in self._published[:last]
            if entry.seq not in heard and looks_before == looks
        ]


async def start_talk(nursery: trio.Nursery, url: str, room_id: RoomId) -> Talk:
    """Start two Queues, of which one publishes and the other listens."""
    here, there = impatient_queue(url), impatient_queue(url)
    talk = Talk(here, room_id)
    there.subscribe(room_id)
    await nursery.start(here.run, Recorder())
    await nursery.start(there.run, talk.recorder)
    await until_working(here)
    await until_working(there)
    nursery.start_soon(talk.run)
    await talk.goes_on()
    return talk
