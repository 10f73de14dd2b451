"""Faults in the Journal, the Lease, the Janitor and the Controller: see `breaks.py`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from unittest import mock

import msgspec
import trio

from sharechat.actors.controller import Controller
from sharechat.actors.janitor import Janitor
from sharechat.actors.journal import BROKEN, Journal
from sharechat.actors.lease import Lease
from sharechat.actors.lease_watcher import LeaseWatcher, _Seen
from sharechat.actors.submission import Submission
from sharechat.domain.errors import (
    RejectedError,
    UnavailableError,
)
from sharechat.domain.ids import ProcessId
from sharechat.domain.messages import Entry, MessageType, stamp
from sharechat.domain.ports import Refusal
from tests.simulation.world import utc_now


def publish_before_commit() -> AbstractContextManager[object]:
    """The Journal delivers the entries that it expects before they are stored."""
    append = Journal._append

    async def publish_and_append(
        self: Journal, batch: Sequence[Submission]
    ) -> list[Entry | Refusal]:
        room_ids = {pending.draft.room_id: None for pending in batch}
        for room_id, room in (await self._repository.get_rooms(room_ids)).items():
            drafts = [p.draft for p in batch if p.draft.room_id == room_id]
            expected = [Entry(room.head + n, stamp(d, utc_now())) for n, d in enumerate(drafts, 1)]
            self._deliver(room_id, expected)
            self._queue.publish(room_id, expected)
        return await append(self, batch)

    return mock.patch.object(Journal, "_append", publish_and_append)


def retry() -> AbstractContextManager[object]:
    """A commit whose answer was lost is retried with new message ids."""
    append = Journal._append

    async def append_anew(self: Journal, batch: Sequence[Submission]) -> list[Entry | Refusal]:
        try:
            return await append(self, batch)
        except UnavailableError:
            self._pending = [renamed(pending) for pending in batch]
            raise

    def renamed(submission: Submission) -> Submission:
        draft = submission.draft
        if draft.type is not MessageType.CHAT:
            return submission
        return Submission(msgspec.structs.replace(draft, id=draft.id + "+"), submission.tell)

    return mock.patch.object(Journal, "_append", append_anew)


def lost_batch() -> AbstractContextManager[object]:
    """The Journal does not try again to store a batch."""
    append = Journal._append

    async def append_once(self: Journal, batch: Sequence[Submission]) -> list[Entry | Refusal]:
        try:
            return await append(self, batch)
        except UnavailableError as error:
            return [RejectedError(str(error)) for _ in batch]

    return mock.patch.object(Journal, "_append", append_once)


def halving() -> AbstractContextManager[object]:
    """One text that makes a commit fail is the end of all others of that commit."""

    async def append(self: Journal, batch: Sequence[Submission]) -> list[Entry | Refusal]:
        drafts = [pending.draft for pending in batch]
        try:
            return await self._repository.append(drafts, self._lease.process_id)
        except UnavailableError:
            raise
        except Exception:  # noqa: BLE001 - as in the Journal
            return [RejectedError(BROKEN) for _ in batch]

    return mock.patch.object(Journal, "_append", append)


def store_timeout() -> AbstractContextManager[object]:
    """A client waits for its text to be stored for as long as that takes."""

    async def keep_deadlines(self: Journal) -> None:
        await trio.sleep_forever()

    return mock.patch.object(Journal, "keep_deadlines", keep_deadlines)


def lease_patience() -> AbstractContextManager[object]:
    """A process that could not read the renewals takes all others for dead."""

    def forget(self: LeaseWatcher) -> None:
        pass

    return mock.patch.object(LeaseWatcher, "forget", forget)


def unseen_lease() -> AbstractContextManager[object]:
    """A lease that has ended is watched on, and its process counts as dead for ever."""

    def observe(
        self: LeaseWatcher, renewals: Mapping[ProcessId, int], now: float
    ) -> dict[ProcessId, int]:
        if now - self._looked_at > self._patience:
            self.forget()
        self._looked_at = now
        for process_id, renewal in renewals.items():
            before = self._seen.get(process_id)
            if before is None or before.renewal != renewal:
                self._seen[process_id] = _Seen(renewal, now)
        return {id_: s.renewal for id_, s in self._seen.items() if now - s.at >= self._ttl}

    return mock.patch.object(LeaseWatcher, "observe", observe)


def renewal_number() -> AbstractContextManager[object]:
    """A process is declared dead even if it has renewed its lease just in time."""

    def dead(self: Lease) -> Mapping[ProcessId, int | None]:
        return dict.fromkeys(id_ for id_ in self._dead if id_ != self.process_id)

    return mock.patch.object(Lease, "dead", property(dead))


def lost_lease() -> AbstractContextManager[object]:
    """A process that has lost its lease keeps its members, who have left for all others."""

    async def start_afresh(self: Lease) -> None:
        self.process_id = self._sources.process_id()
        with suppress(UnavailableError):
            await self.open()

    return mock.patch.object(Lease, "_start_afresh", start_afresh)


def reconciliation() -> AbstractContextManager[object]:
    """Members whose `joined` was stored after they had gone stay members."""

    async def reconcile(self: Janitor) -> None:
        await trio.lowlevel.checkpoint()

    return mock.patch.object(Janitor, "_reconcile", reconcile)


def presence_first() -> AbstractContextManager[object]:
    """The Janitor looks who is connected before it reads who is stored as a member."""

    async def reconcile(self: Janitor) -> None:
        here = set(self._present())
        stored = await self._repository.get_members_of(self._lease.process_id)
        self._make_leave([who for who in stored if who.member.id not in here])

    return mock.patch.object(Janitor, "_reconcile", reconcile)


def room_ttl() -> AbstractContextManager[object]:
    """The Janitor removes old rooms only once."""
    work = Janitor._work

    async def work_and_rest(self: Janitor) -> None:
        await work(self)
        self._clean_at = float("inf")

    return mock.patch.object(Janitor, "_work", work_and_rest)


def supervision() -> AbstractContextManager[object]:
    """An actor that fails is not started again."""

    async def supervise(_: Controller, name: str, run: Callable[[], Awaitable[None]]) -> None:
        try:
            await run()
        except Exception:  # noqa: BLE001 - as in the Controller
            await trio.sleep_forever()

    return mock.patch.object(Controller, "_supervise", supervise)
