"""The follower: keeps this process's rooms level with the log, whatever the Queue loses."""

from collections.abc import Callable, Collection, Mapping, Sequence

import structlog
import trio

from sharechat.actors.policy import Policy
from sharechat.actors.room import Room
from sharechat.domain.errors import UnavailableError
from sharechat.domain.messages import Entry, RoomId
from sharechat.domain.ports import Queue, Repository

log = structlog.get_logger()


class Follower:
    """Passes what the Queue brings on to the rooms; asks the Repository about the rest.

    One task. It looks at the heads of rooms that may have missed something at once, and
    at those of all `rooms` every few seconds, in one query. `gone(room)` is called for a
    room that does not exist any more.
    """

    def __init__(
        self,
        repository: Repository,
        queue: Queue,
        rooms: Mapping[RoomId, Room],
        gone: Callable[[Room], None],
        policy: Policy,
    ) -> None:
        self._repository = repository
        self._queue = queue
        self._rooms = rooms
        self._gone = gone
        self._policy = policy
        self._suspects: set[RoomId] = set()
        self._wake = trio.Event()
        # When all rooms were last looked at.
        self._looked_at = float("-inf")

    def heard(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        """See `sharechat.domain.ports.Listener`."""
        if not entries:
            self.missed({room_id})
        elif room := self._rooms.get(room_id):
            room.offer(entries)

    def missed(self, room_ids: Collection[RoomId]) -> None:
        """See `sharechat.domain.ports.Listener`."""
        self._suspects.update(room_ids)
        self._wake.set()

    async def start(self) -> None:
        """Run the actor until cancelled; cancelling leaves nothing behind."""
        while True:
            with trio.move_on_at(self._looked_at + self._interval()) as nap:
                await self._wake.wait()
            if nap.cancelled_caught:
                self._looked_at = trio.current_time()
                self._suspects.update(self._rooms)
            suspects, self._suspects = self._suspects, set()
            self._wake = trio.Event()
            await self._look_at(suspects)

    def _interval(self) -> float:
        try:
            self._queue.check()
        except UnavailableError:
            return self._policy.follow_interval_unwell
        return self._policy.follow_interval

    async def _look_at(self, room_ids: Collection[RoomId]) -> None:
        room_ids = [room_id for room_id in room_ids if room_id in self._rooms]
        if not room_ids:
            return
        try:
            heads = await self._repository.get_heads(room_ids)
        except UnavailableError as error:
            log.warning("cannot look whether rooms have moved on", reason=str(error))
            await trio.sleep(self._policy.follow_interval_unwell)
            self.missed(room_ids)
            return
        except Exception:
            self.missed(room_ids)  # for when this is started again
            raise
        for room_id in room_ids:
            room = self._rooms.get(room_id)
            if room is None:
                continue
            if room_id not in heads:
                self._gone(room)
            elif heads[room_id] > room.position:
                room.expect(heads[room_id])
