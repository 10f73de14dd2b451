"""The follower: keeps this process's rooms level with the log, whatever the Queue loses."""

from collections.abc import Collection, Sequence

import structlog
import trio

from sharechat.actors.policy import Policy
from sharechat.actors.rooms import Rooms
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Queue, Repository

log = structlog.get_logger()


class Follower:
    """One task. It is the Queue's Listener; instead of a mailbox it keeps a set of rooms.

    What the Queue brings goes straight to the rooms. The heads of rooms that may have missed
    something are looked up at once, those of all rooms every few seconds: one query each time.
    """

    def __init__(self, repository: Repository, queue: Queue, rooms: Rooms, policy: Policy) -> None:
        self._repository = repository
        self._queue = queue
        self._rooms = rooms
        self._policy = policy
        # Rooms that may have missed something.
        self._suspects: set[RoomId] = set()
        self._wake = trio.Event()
        # When all rooms were last looked at.
        self._looked_at = float("-inf")

    def heard(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        """See `sharechat.domain.ports.Listener`."""
        self._rooms.deliver(room_id, entries)

    def missed(self, room_ids: Collection[RoomId]) -> None:
        """See `sharechat.domain.ports.Listener`."""
        self._suspects.update(room_ids)
        self._wake.set()

    async def run(self) -> None:
        """Run the actor until cancelled; cancelling leaves nothing behind."""
        while True:
            with trio.move_on_at(self._looked_at + self._interval()) as nap:
                await self._wake.wait()
            if nap.cancelled_caught:
                self._looked_at = trio.current_time()
                self._suspects.update(self._rooms.ids)
            suspects, self._suspects = self._suspects, set()
            self._wake = trio.Event()
            await self._look_at(suspects)

    def _interval(self) -> float:
        try:
            self._queue.check()
        except UnavailableError:
            return self._policy.follow_interval_unwell
        return self._policy.follow_interval

    async def _look_at(self, suspects: Collection[RoomId]) -> None:
        room_ids = [room_id for room_id in self._rooms.ids if room_id in suspects]
        if not room_ids:
            return
        try:
            rooms = await self._repository.get_rooms(room_ids)
        except UnavailableError as error:
            log.warning("cannot look whether rooms have moved on", reason=str(error))
            await trio.sleep(self._policy.follow_interval_unwell)
            self.missed(room_ids)
            return
        except Exception:
            self.missed(room_ids)  # for when this is run again
            raise
        for room_id in room_ids:
            if room := rooms.get(room_id):
                self._rooms.expect(room_id, room.head)
            else:
                self._rooms.evict(room_id)
