"""What is shown of a room: a model without a screen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import count
from uuid import uuid4

from sharechat.client.terminal.text import local_day
from sharechat.domain.messages import Message

MAX_ITEMS = 10_000
"""How much is kept; beyond that the oldest goes, and is no longer scrolled back to."""


@dataclass(frozen=True)
class Day:
    """Everything that follows, up to the next one, is of this day."""

    day: date

    @property
    def key(self) -> object:
        return self.day


@dataclass(frozen=True)
class Heard:
    """A message of the room's log."""

    message: Message
    mine: bool

    @property
    def key(self) -> object:
        return self.message.id


@dataclass(frozen=True)
class Own:
    """Something said here that is not stored; `failure` is why, if it will not be by itself."""

    id: str
    name: str
    text: str
    when: datetime
    failure: str | None = None

    @property
    def key(self) -> object:
        return self.id


@dataclass(frozen=True)
class Note:
    """Something that the program says, not the room."""

    number: int
    text: str

    @property
    def key(self) -> object:
        return self.number


Item = Day | Heard | Own | Note


class Log:
    """The messages of a room in their order, and after them what has been said but not stored.

    What has failed stays where it was when it failed.
    """

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._ids: set[str] = set()
        self._pending: dict[str, Own] = {}
        self._failed: dict[str, Own] = {}
        self._numbers = count(1)
        self._last_day: date | None = None
        self.mine: set[str] = set()
        """The ids of what was said here."""
        self.first: Message | None = None
        """The oldest message that is shown: older ones come before it."""
        self.unread = 0
        """How many messages have come since the reader scrolled back."""
        self.scrolled_back = False

    @property
    def items(self) -> Sequence[Item]:
        return [*self._items, *self._pending.values()]

    @property
    def pending(self) -> list[Own]:
        return list(self._pending.values())

    @property
    def failed(self) -> list[Own]:
        return list(self._failed.values())

    @property
    def full(self) -> bool:
        return len(self._items) >= MAX_ITEMS

    def say(self, text: str, name: str = "") -> Own:
        """Show something at once that has been said here, by the name that one has now."""
        own = Own(str(uuid4()), name, text, datetime.now(UTC))
        self._pending[own.id] = own
        self.mine.add(own.id)
        return own

    def take_back(self, own: Own) -> None:
        self._pending.pop(own.id, None)

    def fail(self, id_: str, reason: str) -> None:
        """Mark something that was said as not stored."""
        if own := self._pending.pop(id_, None):
            self._failed[id_] = failed = replace(own, failure=reason)
            self._items.append(failed)

    def repeat(self, failed: Own) -> Own:
        """Take up something that failed as if it were said now, under the same id."""
        self._items.remove(self._failed.pop(failed.id))
        own = replace(failed, when=datetime.now(UTC), failure=None)
        self._pending[own.id] = own
        return own

    def note(self, text: str) -> None:
        self._items.append(Note(next(self._numbers), text))

    def hear(self, message: Message) -> bool:
        """Add the room's next message; return whether it is new."""
        self._pending.pop(message.id, None)
        if failed := self._failed.pop(message.id, None):
            self._items.remove(failed)
        if message.id in self._ids:
            return False
        if self.first is None:
            self.first = message
        if self._last_day != (day := local_day(message.sent)):
            self._items.append(Day(day))
            self._last_day = day
        self._items.append(self._heard(message))
        if self.scrolled_back:
            self.unread += 1
        self._forget()
        return True

    def add_older(self, page: Sequence[Message]) -> None:
        """Add messages that come before all others, oldest first."""
        older: list[Item] = []
        day: date | None = None
        for message in page:
            if message.id in self._ids:
                continue
            if day != (day := local_day(message.sent)):
                older.append(Day(day))
            older.append(self._heard(message))
        if not older:
            return
        # The day of what was the oldest may have begun earlier.
        self._items = [*older, *(item for item in self._items if item != Day(day or date.min))]
        self.first = next(item.message for item in older if isinstance(item, Heard))

    def read(self) -> None:
        """The reader is back at the end."""
        self.scrolled_back = False
        self.unread = 0

    def _heard(self, message: Message) -> Heard:
        self._ids.add(message.id)
        return Heard(message, message.id in self.mine)

    def _forget(self) -> None:
        while len(self._items) > MAX_ITEMS:
            gone = self._items.pop(0)
            if isinstance(gone, Heard):
                self._ids.discard(gone.message.id)
                self.mine.discard(gone.message.id)
            elif isinstance(gone, Own):
                del self._failed[gone.id]
        self.first = next((i.message for i in self._items if isinstance(i, Heard)), self.first)
