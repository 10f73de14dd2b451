"""The controller: the rooms that have members on this process, and all that serves them."""

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog
import trio

from sharechat.actors.follower import Follower
from sharechat.actors.janitor import Janitor
from sharechat.actors.journal import Journal
from sharechat.actors.member import Member
from sharechat.actors.policy import Policy
from sharechat.actors.room import Room
from sharechat.domain import messages, names
from sharechat.domain.errors import FullError, StoppingError
from sharechat.domain.messages import Entry, Identity, MemberId, RoomId, RoomInfo
from sharechat.domain.outcomes import INTERNAL_ERROR, RESTARTING, ROOM_DELETED
from sharechat.domain.ports import Connection, Queue, Repository

log = structlog.get_logger()

_GOODBYES_AT_ONCE = 20

_RESTART_PAUSE = 1
"""Seconds before an actor that failed, and that all rooms need, starts again."""


class Controller:
    """Supervises every actor of this process.

    The rooms live in one nursery: each is started for its first member and ends a little
    after its last. A room that fails takes down its members' connections and nothing else.
    """

    def __init__(self, repository: Repository, queue: Queue, policy: Policy) -> None:
        self._repository = repository
        self._queue = queue
        self._policy = policy
        self._rooms: dict[RoomId, Room] = {}
        self._members: dict[MemberId, Member] = {}
        self._nursery: trio.Nursery | None = None
        self._stopping = False
        self._everyone_left = trio.Event()
        self._ended = trio.Event()
        self._ended.set()  # It has not begun.
        self._janitor = Janitor(repository, queue, self._members.keys, self._start_afresh, policy)
        self._journal = Journal(repository, lambda: self._janitor.process_id, self._deliver, policy)
        self._follower = Follower(repository, queue, self._rooms, self._evict, policy)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve members until `stop` or cancelled.

        Started once it can take members. Raises UnavailableError if the Repository cannot
        be reached at the start. Cancelling ends every actor at once: what the Journal has
        not stored by then is left to the other processes' janitors.
        """
        await self._janitor.open()
        self._ended = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_supervise, "journal", self._journal.start)
                nursery.start_soon(_supervise, "queue", self._run_queue)
                nursery.start_soon(_supervise, "follower", self._follower.start)
                nursery.start_soon(_supervise, "janitor", self._run_janitor)
                self._nursery = nursery
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    # In here, while the nursery still takes the rooms of those who come.
                    self._nursery = None
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Make every member leave, store that, give back the lease, and end `run`.

        Takes `stop_timeout` seconds at most. Whoever calls it again waits for the first to
        be done. If cancelled, `run` ends at once.
        """
        nursery = self._nursery
        if self._stopping or nursery is None:
            self._stopping = True
            await self._ended.wait()
            return
        self._stopping = True
        try:
            with trio.move_on_after(self._policy.stop_timeout) as patience:
                await self._say_goodbye()
                if self._members:
                    await self._everyone_left.wait()
                await self._journal.settled()
                await self._janitor.close()
            if patience.cancelled_caught:
                log.warning("stopped before every member had left", members=len(self._members))
        finally:
            nursery.cancel_scope.cancel()
        await self._ended.wait()

    async def _say_goodbye(self) -> None:
        """Close everyone, a few at a time: whole rooms must not come back in one moment."""
        members = list(self._members.values())
        pause = self._policy.stop_spread / max(1000, len(members))
        for index, member in enumerate(members):
            member.close(RESTARTING)
            if index % _GOODBYES_AT_ONCE == _GOODBYES_AT_ONCE - 1:
                await trio.sleep(pause * _GOODBYES_AT_ONCE)

    async def serve_room(
        self, info: RoomInfo, connection: Connection, *, after: int | None = None
    ) -> None:
        """Serve one connection in the room that `open_room` returned: a member's whole life.

        With `after`, what the member hears begins after that seq. The connection is closed
        when this returns. If cancelled, the member leaves and the connection is closed.
        """
        if self._nursery is None:
            await connection.aclose(RESTARTING)
            return
        identity = Identity(messages.new_member_id(), names.member_name())
        with self._enter(info, self._nursery) as room:
            member = Member(
                identity, connection, room, self._journal, self._repository, self._policy
            )
            self._members[member.id] = member
            if self._stopping:
                member.close(RESTARTING)
            try:
                await member.run(after=after)
            finally:
                del self._members[member.id]
                if self._stopping and not self._members:
                    self._everyone_left.set()

    async def open_room(self, room_id: RoomId) -> RoomInfo:
        """Return the room for `serve_room`.

        Raises RoomNotFoundError, UnavailableError, StoppingError, FullError.
        """
        if self._stopping or self._nursery is None:
            raise StoppingError
        if len(self._members) >= self._policy.max_members:
            raise FullError
        return await self._repository.get_room(room_id)

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        """Remove a room and end its members' connections, on every process.

        Raises RoomNotFoundError, WrongKeyError, UnavailableError.
        """
        await self._repository.delete_room(room_id, key_hash)
        log.info("room deleted", room=room_id)
        self._queue.publish(room_id, ())
        if room := self._rooms.get(room_id):
            self._evict(room)

    @contextmanager
    def _enter(self, info: RoomInfo, nursery: trio.Nursery) -> Iterator[Room]:
        """Keep the room's actor alive; nothing here waits, so two joins start one actor."""
        room = self._rooms.get(info.id)
        if room is None or room.scope.cancel_called:
            room = self._host(info, nursery)
        room.guests += 1
        room.scope.deadline = math.inf
        try:
            yield room
        finally:
            room.guests -= 1
            if not room.guests:
                room.scope.deadline = trio.current_time() + self._policy.room_linger

    def _host(self, info: RoomInfo, nursery: trio.Nursery) -> Room:
        room = Room(info, self._repository, self._policy)
        self._rooms[info.id] = room
        nursery.start_soon(self._run_room, room)
        self._queue.subscribe(info.id)
        return room

    async def _run_room(self, room: Room) -> None:
        try:
            with room.scope:
                await room.start()
        except Exception:
            log.exception("room failed", room=room.id)
        finally:
            # Another actor may have taken its place since it was cancelled.
            if self._rooms.get(room.id) is room:
                del self._rooms[room.id]
                self._queue.unsubscribe(room.id)
            room.close(INTERNAL_ERROR)

    def _evict(self, room: Room) -> None:
        """End the actor of a room that does not exist any more."""
        room.close(ROOM_DELETED)
        room.scope.cancel()

    def _deliver(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        if room := self._rooms.get(room_id):
            room.offer(entries)
        self._queue.publish(room_id, entries)

    def _start_afresh(self) -> None:
        """The others have made this process's members leave: end their connections too."""
        for member in list(self._members.values()):
            member.close(RESTARTING)

    async def _run_queue(self) -> None:
        await self._queue.run(self._follower)

    async def _run_janitor(self) -> None:
        await self._janitor.start(self._journal)


async def _supervise(name: str, start: Callable[[], Awaitable[None]]) -> None:
    """Run an actor that every room needs; if it fails, log that and start it again."""
    while True:
        try:
            await start()
        except Exception:
            log.exception("actor failed, starting it again", actor=name)
        await trio.sleep(_RESTART_PAUSE)
