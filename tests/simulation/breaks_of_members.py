"""Faults in the Member and in what the Journal does with its `left`: see `breaks.py`."""

from contextlib import AbstractContextManager, suppress
from unittest import mock

import trio

from sharechat.actors.journal import Journal
from sharechat.actors.member import Member
from sharechat.actors.room import JoinAfter, Mail, Room, _Arriving
from sharechat.actors.submission import Submission
from sharechat.actors.talk import Talk
from sharechat.domain.errors import NotStoredError
from sharechat.domain.messages import Draft, Entry
from sharechat.domain.token_bucket import TokenBucket


def last_words() -> AbstractContextManager[object]:
    """A member that notices while sending that its client has gone drops what the client said."""

    async def listen_to_the_end(self: Member, after: int | None) -> None:
        await self.listen(after)

    return mock.patch.object(Member, "_listen_to_the_end", listen_to_the_end)


def one_page() -> AbstractContextManager[object]:
    """A member that catches up joins its room after the first page."""

    async def catch_up(self: Member, after: int) -> None:
        after += await self._send_page(after, self._policy.read_limit)
        position = await self._room.join_after(self, after)
        while after < position:
            after += await self._send_page(after, position - after)

    return mock.patch.object(Member, "_catch_up", catch_up)


def short_page() -> AbstractContextManager[object]:
    """A member that catches up joins its room after the first page that is not full."""

    async def catch_up(self: Member, after: int) -> None:
        limit = self._policy.read_limit
        while (entries := await self._send_page(after, limit)) == limit:
            after += entries
        after += entries
        position = await self._room.join_after(self, after)
        while after < position:
            after += await self._send_page(after, position - after)

    return mock.patch.object(Member, "_catch_up", catch_up)


def join_position() -> AbstractContextManager[object]:
    """A member that has caught up is delivered to from where the room is, not from where it is."""
    take = Room._take

    def take_carelessly(self: Room, mail: Mail) -> None:
        if isinstance(mail, JoinAfter):
            self._arriving[mail.member.id] = _Arriving(mail.member, self.position)
            mail.reply.send_nowait(mail.after)
        else:
            take(self, mail)

    return mock.patch.object(Room, "_take", take_carelessly)


def early_failure() -> AbstractContextManager[object]:
    """A member is told of a failure before it has heard its own `joined`."""

    settle = Talk._settle

    def settle_at_once(self: Talk, outcome: Entry | NotStoredError) -> None:
        settle(self, outcome)
        if isinstance(self._outcome, NotStoredError):
            self._answer(self._outcome)

    return mock.patch.object(Talk, "_settle", settle_at_once)


def message_rate() -> AbstractContextManager[object]:
    """Clients may say as much as they like."""
    return mock.patch.object(TokenBucket, "take", return_value=0.0)


def missing_left() -> AbstractContextManager[object]:
    """A member that is cancelled before its `joined` was confirmed does not leave."""
    store = Journal.store

    async def store_or_forget(self: Journal, draft: Draft) -> object:
        try:
            return await store(self, draft)
        except (trio.Cancelled, NotStoredError):
            self._leaving.add((draft.room_id, draft.member.id))
            raise

    return mock.patch.object(Journal, "store", store_or_forget)


def kept_deadline() -> AbstractContextManager[object]:
    """What is on its way when its author's connection ends is dropped if it is not stored soon."""
    return mock.patch.object(Submission, "keep")


def left_overtakes() -> AbstractContextManager[object]:
    """A `left` that finds the mailbox full is stored before what is in it."""

    def leave(self: Journal, draft: Draft) -> None:
        who = draft.room_id, draft.member.id
        if who in self._leaving:
            return
        self._leaving.add(who)
        if self._none_leaving.is_set():
            self._none_leaving = trio.Event()
        pending = Submission(draft)
        try:
            self._sender.send_nowait(pending)
        except trio.WouldBlock:
            self._overflow.append((self._taken, pending))

    return mock.patch.object(Journal, "leave", leave)


def left_dropped() -> AbstractContextManager[object]:
    """A `left` that finds the mailbox full is dropped."""

    def leave(self: Journal, draft: Draft) -> None:
        with suppress(trio.WouldBlock):
            self._sender.send_nowait(Submission(draft))

    return mock.patch.object(Journal, "leave", leave)
