"""The order of one room's log; a decision that needs no I/O."""

from collections.abc import Sequence

from sharechat.domain.messages import Entry


class Sequencer:
    """Takes entries in any order and any number of times; returns each once, in order.

    `position` is the seq of the last entry that was returned, `head` the largest seq that is
    known to exist. At most `capacity` entries that came too early are kept; the others, like
    those that never came, have to be read from the Repository.
    """

    def __init__(self, position: int, *, capacity: int = 1024) -> None:
        self.position = position
        self.head = position
        self._capacity = capacity
        self._early: dict[int, Entry] = {}

    @property
    def behind(self) -> bool:
        """Whether entries are known to exist that have not been returned."""
        return self.head > self.position

    def expect(self, seq: int) -> None:
        """Learn that the log reaches to `seq`."""
        self.head = max(self.head, seq)

    def take(self, entries: Sequence[Entry]) -> list[Entry]:
        """Take entries; return what is now complete, in order."""
        ready: list[Entry] = []
        for entry in entries:
            if entry.seq == self.position + 1:
                ready.append(entry)
                self.position = entry.seq
                # Usually everything comes in order, and nothing was kept.
                while self._early and (early := self._early.pop(self.position + 1, None)):
                    ready.append(early)
                    self.position = early.seq
            elif entry.seq > self.position and len(self._early) < self._capacity:
                self._early[entry.seq] = entry
            self.expect(entry.seq)
        return ready
