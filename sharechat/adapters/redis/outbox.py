"""What waits to be published."""


class Outbox:
    """Commands that wait to be sent: up to `limit` bytes, and only while it is open.

    What does not fit is dropped. As much again may be on its way, having been taken.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = False
        self._waiting: list[bytes] = []
        self._size = 0
        self._dropped = 0

    def open(self) -> None:
        self._open = True

    def close(self) -> None:
        """Drop what waits, and all that is put until `open`."""
        self._open = False
        self._waiting.clear()
        self._size = 0

    def put(self, command: bytes, *, urgent: bool = False) -> bool:
        """Add a command, an urgent one also past the limit; return whether it was taken."""
        if not self._open or (self._size + len(command) > self._limit and not urgent):
            self._dropped += 1
            return False
        self._waiting.append(command)
        self._size += len(command)
        return True

    def take(self) -> bytes:
        """Return all that waits, which then does so no more."""
        commands = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return commands

    def take_dropped(self) -> int:
        """Return how many commands have been dropped since this was last called."""
        dropped, self._dropped = self._dropped, 0
        return dropped
