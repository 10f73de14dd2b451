"""Faults in the Room, the Sequencer, Rooms and the Follower: see `breaks.py`."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from unittest import mock

import trio

from sharechat.actors.follower import Follower
from sharechat.actors.room import Mail, Room
from sharechat.actors.rooms import Rooms, _Hosted
from sharechat.actors.sequencer import Sequencer
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry, RoomInfo


def gap_repair() -> AbstractContextManager[object]:
    """A room never reads what it has missed."""

    async def next_mail(self: Room) -> list[Mail]:
        return [await self._mailbox.receive(), *self._waiting_mail()]

    return mock.patch.object(Room, "_next_mail", next_mail)


def dedupe() -> AbstractContextManager[object]:
    """An entry that arrives twice is delivered twice."""
    take = Sequencer.take

    def take_again(self: Sequencer, entries: Sequence[Entry]) -> list[Entry]:
        again = [entry for entry in entries if entry.seq <= self.position]
        return again + take(self, entries)

    return mock.patch.object(Sequencer, "take", take_again)


def late_welcome() -> AbstractContextManager[object]:
    """A room forgets the members that are joining whenever it delivers something."""
    welcome = Room._welcome

    def welcome_and_forget(self: Room, batch: object, ready: Sequence[Entry]) -> None:
        welcome(self, batch, ready)  # type: ignore[arg-type]
        self._arriving.clear()

    return mock.patch.object(Room, "_welcome", welcome_and_forget)


def waiting_joins() -> AbstractContextManager[object]:
    """A room that has read what it missed delivers that before it looks who has joined."""

    async def next_mail(self: Room) -> list[Mail]:
        if not self._sequencer.behind:
            self._patience_ends = None
            return [await self._mailbox.receive(), *self._waiting_mail()]
        if self._patience_ends is None:
            self._patience_ends = trio.current_time() + self._policy.gap_patience
        with trio.move_on_at(self._patience_ends):
            return [await self._mailbox.receive(), *self._waiting_mail()]
        return [await self._read_missing()]

    return mock.patch.object(Room, "_next_mail", next_mail)


def dropped_entries() -> AbstractContextManager[object]:
    """A room whose mailbox is full does not remember which entries it dropped."""

    def offer(self: Room, entries: Sequence[Entry]) -> None:
        with suppress(trio.WouldBlock, trio.BrokenResourceError):
            self._sender.send_nowait(entries)

    return mock.patch.object(Room, "offer", offer)


def expectation() -> AbstractContextManager[object]:
    """A room that learns of a new head does not wake up."""

    def expect(self: Room, head: int) -> None:
        self._sequencer.expect(head)

    return mock.patch.object(Room, "expect", expect)


def room_linger() -> AbstractContextManager[object]:
    """A room that lingers ends although somebody has joined it again."""

    @contextmanager
    def enter(self: Rooms, info: RoomInfo) -> Iterator[Room]:
        hosted = self._hosted.get(info.id)
        if hosted is None or hosted.scope.cancel_called:
            hosted = self._host(info)
        hosted.guests += 1
        try:
            yield hosted.room
        finally:
            hosted.guests -= 1
            if not hosted.guests:
                hosted.scope.deadline = trio.current_time() + self._policy.room_linger

    return mock.patch.object(Rooms, "enter", enter)


def successor() -> AbstractContextManager[object]:
    """A room that ends late unsubscribes the one that has taken its place."""
    run_room = Rooms._run_room

    async def run_room_and_unsubscribe(self: Rooms, hosted: _Hosted) -> None:
        await run_room(self, hosted)
        self._queue.unsubscribe(hosted.room.id)

    return mock.patch.object(Rooms, "_run_room", run_room_and_unsubscribe)


def unsubscribe() -> AbstractContextManager[object]:
    """A room that ends stays subscribed."""

    async def run_room(self: Rooms, hosted: _Hosted) -> None:
        try:
            with hosted.scope:
                await hosted.room.start()
        finally:
            if self._hosted.get(hosted.room.id) is hosted:
                del self._hosted[hosted.room.id]

    return mock.patch.object(Rooms, "_run_room", run_room)


def silent_deletion() -> AbstractContextManager[object]:
    """The other processes are not told that a room was deleted."""

    async def delete_room(self: Rooms, room_id: RoomId, key_hash: bytes) -> None:
        await self._repository.delete_room(room_id, key_hash)
        self.evict(room_id)

    return mock.patch.object(Rooms, "delete_room", delete_room)


def regular_look() -> AbstractContextManager[object]:
    """The follower looks at all rooms only if the bus has been quiet for the whole interval."""

    async def run(self: Follower) -> None:
        while True:
            with trio.move_on_after(self._policy.follow_interval) as nap:
                await self._wake.wait()
            suspects = set(self._rooms.ids) if nap.cancelled_caught else self._suspects
            self._suspects = set()
            self._wake = trio.Event()
            await self._look_at(suspects)

    return mock.patch.object(Follower, "run", run)


def unwell_look() -> AbstractContextManager[object]:
    """The follower looks no more often while the bus is away."""

    def interval(self: Follower) -> float:
        return self._policy.follow_interval

    return mock.patch.object(Follower, "_interval", interval)


def lost_suspects() -> AbstractContextManager[object]:
    """The follower forgets which rooms to look at if the Repository is away."""

    async def look_at(self: Follower, suspects: Collection[RoomId]) -> None:
        room_ids = [room_id for room_id in self._rooms.ids if room_id in suspects]
        try:
            rooms = await self._repository.get_rooms(room_ids)
        except UnavailableError:
            await trio.sleep(self._policy.follow_interval_unwell)
            return
        for room_id in room_ids:
            if room := rooms.get(room_id):
                self._rooms.expect(room_id, room.head)
            else:
                self._rooms.evict(room_id)

    return mock.patch.object(Follower, "_look_at", look_at)
