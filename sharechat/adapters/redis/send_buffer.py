"""The buffer of commands that wait to be sent to Redis."""


class SendBuffer:
    """Commands that wait to be sent, up to `limit` bytes.

    A command that does not fit is dropped, and so is every command while the buffer is
    closed. A new buffer is closed. The limit does not count commands that `take` has
    returned: up to `limit` bytes more may be on their way to the socket.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = False
        self._commands: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._accepted = 0

    @property
    def accepted(self) -> int:
        """How many commands have been accepted since `open`."""
        return self._accepted

    @property
    def size(self) -> int:
        """Bytes that wait to be sent."""
        return self._size

    def open(self) -> None:
        """Accept commands from now on."""
        self._open = True
        self._accepted = 0

    def close(self) -> None:
        """Drop everything that waits, and every command until `open` is called."""
        self._open = False
        self._commands.clear()
        self._size = 0

    def put(self, command: bytes, *, urgent: bool = False) -> bool:
        """Add a command; return False if it was dropped. `urgent` ignores the limit."""
        if not self._open or (self._size + len(command) > self._limit and not urgent):
            self._dropped += 1
            return False
        self._commands.append(command)
        self._size += len(command)
        self._accepted += 1
        return True

    def take(self) -> bytes:
        """Remove and return everything that waits."""
        commands = b"".join(self._commands)
        self._commands.clear()
        self._size = 0
        return commands

    def take_dropped(self) -> int:
        """Return how many commands `put` has dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped
