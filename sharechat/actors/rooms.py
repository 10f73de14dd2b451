"""The directory of the rooms that have members on this process."""

import math
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager

import structlog
import trio

from sharechat.actors.policy import Policy
from sharechat.actors.room import Room
from sharechat.actors.room_lookup import RoomLookup
from sharechat.domain.errors import StoppingError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry, RoomInfo
from sharechat.domain.outcomes import INTERNAL_ERROR, ROOM_DELETED
from sharechat.domain.ports import Queue, Repository
from sharechat.domain.telemetry import SILENT, Level, Part, Telemetry

log = structlog.get_logger()


class _Hosted:
    """A room's actor, what cancels it, and how many members are using it.

    Until `fresh_until` the room is taken to exist.
    """

    __slots__ = ("fresh_until", "guests", "name", "room", "scope")

    def __init__(self, name: str, room: Room) -> None:
        self.name = name
        self.room = room
        self.scope = trio.CancelScope()
        self.guests = 0
        self.fresh_until = -math.inf


class Rooms:
    """Decides, alone, when a room's actor starts and ends, and delivers entries to it.

    An actor is started for the first member of its room. It ends `room_linger` seconds after
    the last one has left, or when the room has been deleted. An actor that fails closes its
    members' connections and disturbs no other room.
    """

    def __init__(
        self,
        repository: Repository,
        queue: Queue,
        policy: Policy,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._repository = repository
        self._lookup = RoomLookup(repository)
        self._queue = queue
        self._policy = policy
        self._telemetry = telemetry
        self._hosted: dict[RoomId, _Hosted] = {}
        telemetry.watch(Level.ROOMS, self._hosted.__len__)
        self._nursery: trio.Nursery | None = None
        self._open = False

    @property
    def ids(self) -> Set[RoomId]:
        """The rooms that have an actor here."""
        return self._hosted.keys()

    @property
    def running(self) -> bool:
        """Whether `run` runs, so that members can `enter`."""
        return self._nursery is not None

    @property
    def open(self) -> bool:
        """Whether newcomers are taken, and not turned away."""
        return self._open

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the nursery in which all rooms run. Cancelling ends every one of them at once."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._open = True
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                # Here, while the nursery still takes the rooms of members who come just now.
                self._open = False
                self._nursery = None

    def turn_away(self) -> None:
        """Let `open_room` refuse newcomers from now on."""
        self._open = False

    async def open_room(self, room_id: RoomId) -> RoomInfo:
        """Return a room that a member may enter.

        The Repository is not asked about a room that has an actor here and that something was
        stored in just now: so many may come at once. Whoever comes before the room's deletion is
        heard of is taken, and then closed as its members are.

        Raises RoomNotFoundError, UnavailableError, and StoppingError if this process takes
        no new members.
        """
        if not self._open:
            raise StoppingError
        hosted = self._hosted.get(room_id)
        if hosted is None or hosted.scope.cancel_called or trio.current_time() > hosted.fresh_until:
            return await self._lookup.get_room(room_id)
        return RoomInfo(room_id, hosted.name, hosted.room.position)

    async def get_room(self, room_id: RoomId) -> RoomInfo:
        """Return a room as it is stored. Raises RoomNotFoundError, UnavailableError."""
        return await self._lookup.get_room(room_id)

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        """Remove a room and end its members' connections, on every process.

        Raises RoomNotFoundError, WrongKeyError, UnavailableError.
        """
        await self._repository.delete_room(room_id, key_hash)
        log.info("room deleted", room=room_id)
        self._queue.publish_look(room_id)
        self.evict(room_id)

    @contextmanager
    def enter(self, info: RoomInfo) -> Iterator[Room]:
        """Keep the room's actor running while in the block, and start it if there is none.

        Must not be called unless `running`. It has no checkpoint, so two members who come at
        once share one actor.
        """
        hosted = self._hosted.get(info.id)
        if hosted is None or hosted.scope.cancel_called:
            hosted = self._host(info)
        hosted.guests += 1
        hosted.scope.deadline = math.inf
        try:
            yield hosted.room
        finally:
            hosted.guests -= 1
            if not hosted.guests:
                hosted.scope.deadline = trio.current_time() + self._policy.room_linger

    def deliver(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        """Hand entries of a room's log to its actor, if there is one. Never waits."""
        if hosted := self._hosted.get(room_id):
            hosted.fresh_until = trio.current_time() + self._policy.room_freshness
            hosted.room.offer(entries)

    def expect(self, room_id: RoomId, head: int) -> None:
        """Tell a room's actor, if there is one, that its log reaches to `head`. Never waits."""
        if hosted := self._hosted.get(room_id):
            hosted.room.expect(head)

    def evict(self, room_id: RoomId) -> None:
        """End the actor, if there is one, of a room that no longer exists."""
        if hosted := self._hosted.get(room_id):
            hosted.room.close(ROOM_DELETED)
            hosted.scope.cancel()

    def _host(self, info: RoomInfo) -> _Hosted:
        assert self._nursery is not None
        hosted = _Hosted(info.name, Room(info, self._repository, self._policy, self._telemetry))
        self._hosted[info.id] = hosted
        self._nursery.start_soon(self._run_room, hosted)
        self._queue.subscribe(info.id)
        return hosted

    async def _run_room(self, hosted: _Hosted) -> None:
        room = hosted.room
        try:
            with hosted.scope:
                await room.start()
        except Exception:
            log.exception("room failed", room=room.id)
            self._telemetry.failed(Part.ROOM)
        finally:
            # Another actor may have taken its place since it was cancelled.
            if self._hosted.get(room.id) is hosted:
                del self._hosted[room.id]
                self._queue.unsubscribe(room.id)
            room.close(INTERNAL_ERROR)
