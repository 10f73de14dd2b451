"""Messages on their way to the members of one room."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sharechat.domain.messages import Message, Welcome, to_json

T = TypeVar("T")


class Batch:
    """Messages that are encoded once, however many members they go to.

    A room hands the same object to all of its members, so each uses what was encoded for
    the first.
    """

    __slots__ = ("_encoded", "_json", "_size", "messages")

    def __init__(self, messages: Sequence[Message | Welcome]) -> None:
        self.messages = messages
        self._json: list[bytes] | None = None
        self._size: int | None = None
        self._encoded: dict[object, Any] = {}

    @property
    def json(self) -> list[bytes]:
        """The JSON text of each message, in UTF-8."""
        if self._json is None:
            self._json = [to_json(message) for message in self.messages]
        return self._json

    @property
    def size(self) -> int:
        """The length of the JSON texts, in bytes."""
        if self._size is None:
            self._size = sum(map(len, self.json))
        return self._size

    @classmethod
    def up_to(cls, max_bytes: int, messages: Sequence[Message]) -> "Batch":
        """Return a batch of the first messages with up to `max_bytes` of JSON; at least one."""
        texts: list[bytes] = []
        size = 0
        for message in messages:
            text = to_json(message)
            if texts and size + len(text) > max_bytes:
                break
            texts.append(text)
            size += len(text)
        batch = cls(messages if len(texts) == len(messages) else messages[: len(texts)])
        batch._json, batch._size = texts, size
        return batch

    def since(self, index: int) -> "Batch":
        """Return the batch without its first `index` messages; nothing is encoded twice."""
        if index == 0:
            return self
        rest = Batch(self.messages[index:])
        rest._json = self.json[index:]
        return rest

    def once(self, encode: Callable[[list[bytes]], T]) -> T:
        """Return `encode(self.json)`. Each `encode` is called once, and its result is kept."""
        try:
            # This runs for each member of a room, so every look-up counts.
            encoded: T = self._encoded[encode]
        except KeyError:
            encoded = self._encoded[encode] = encode(self.json)
        return encoded
