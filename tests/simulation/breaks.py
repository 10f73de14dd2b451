"""Deliberate faults in the actors, one at a time, each of which the simulation must find.

They patch private methods: each removes one precaution of the protocol.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from unittest import mock

import msgspec
import trio

from sharechat.actors.follower import Follower
from sharechat.actors.janitor import Janitor
from sharechat.actors.journal import Journal, _Pending
from sharechat.actors.lease_watcher import LeaseWatcher
from sharechat.actors.room import Mail, Room
from sharechat.actors.sequencer import Sequencer
from sharechat.domain.errors import RoomNotFoundError, UnavailableError
from sharechat.domain.messages import Entry, MessageType, stamp
from sharechat.domain.ports import Refusal
from tests.simulation.world import utc_now

Break = Callable[[], AbstractContextManager[object]]


def _gap_repair() -> AbstractContextManager[object]:
    """A room never reads what it has missed."""

    async def next_mail(self: Room) -> list[Mail]:
        return [await self._mailbox.receive(), *self._waiting_mail()]

    return mock.patch.object(Room, "_next_mail", next_mail)


def _dedupe() -> AbstractContextManager[object]:
    """An entry that arrives twice is delivered twice."""
    take = Sequencer.take

    def take_again(self: Sequencer, entries: Sequence[Entry]) -> list[Entry]:
        again = [entry for entry in entries if entry.seq <= self.position]
        return again + take(self, entries)

    return mock.patch.object(Sequencer, "take", take_again)


def _publish_before_commit() -> AbstractContextManager[object]:
    """The Journal delivers the entries that it expects before they are stored."""
    append = Journal._append

    async def publish_and_append(self: Journal, batch: Sequence[_Pending]) -> list[Entry | Refusal]:
        for room_id in {pending.draft.room_id: None for pending in batch}:
            try:
                head = (await self._repository.get_room(room_id)).head
            except RoomNotFoundError:
                continue
            drafts = [p.draft for p in batch if p.draft.room_id == room_id]
            expected = [Entry(head + n, stamp(d, utc_now())) for n, d in enumerate(drafts, 1)]
            self._deliver(room_id, expected)
            self._queue.publish(room_id, expected)
        return await append(self, batch)

    return mock.patch.object(Journal, "_append", publish_and_append)


def _late_welcome() -> AbstractContextManager[object]:
    """A room forgets the members that are joining whenever it delivers something."""
    welcome = Room._welcome

    def welcome_and_forget(self: Room, batch: object, ready: Sequence[Entry]) -> None:
        welcome(self, batch, ready)  # type: ignore[arg-type]
        self._arriving.clear()

    return mock.patch.object(Room, "_welcome", welcome_and_forget)


def _lease_patience() -> AbstractContextManager[object]:
    """A process that could not read the renewals takes all others for dead."""

    def forget(self: LeaseWatcher) -> None:
        pass

    return mock.patch.object(LeaseWatcher, "forget", forget)


def _reconciliation() -> AbstractContextManager[object]:
    """Members whose `joined` was stored after they had gone stay members."""

    async def reconcile(self: Janitor) -> None:
        await trio.lowlevel.checkpoint()

    return mock.patch.object(Janitor, "_reconcile", reconcile)


def _regular_look() -> AbstractContextManager[object]:
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


def _retry() -> AbstractContextManager[object]:
    """A commit whose answer was lost is retried with new message ids."""
    append = Journal._append

    async def append_anew(self: Journal, batch: Sequence[_Pending]) -> list[Entry | Refusal]:
        try:
            return await append(self, batch)
        except UnavailableError:
            for pending in batch:
                if pending.draft.type is MessageType.CHAT:
                    id_ = pending.draft.id + "+"
                    pending.draft = msgspec.structs.replace(pending.draft, id=id_)
            raise

    return mock.patch.object(Journal, "_append", append_anew)


BREAKS: Mapping[str, Break] = {
    "gap-repair": _gap_repair,
    "dedupe": _dedupe,
    "publish-before-commit": _publish_before_commit,
    "late-welcome": _late_welcome,
    "lease-patience": _lease_patience,
    "reconciliation": _reconciliation,
    "regular-look": _regular_look,
    "retry": _retry,
}
