"""Reading old messages page by page, within bounds for all clients of this process together."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from sharechat.actors.policy import Policy
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Repository

_SHARES = 8
"""A page takes at most this fraction, 1 / _SHARES, of the bytes that are left."""


class History:
    """Reads the pages that clients ask for, over REST or because they catch up.

    `history_readers` pages are read at a time; whoever else wants one waits for its turn, in
    order, so reading never takes up the whole Repository. What a client has yet to take counts
    towards `history_bytes`. The less is left of those, the smaller the pages become, down to a
    single message. So a client that takes its page slowly never makes another one wait.
    """

    def __init__(self, repository: Repository, policy: Policy) -> None:
        self._repository = repository
        self._policy = policy
        self._turns = trio.CapacityLimiter(policy.history_readers)
        self._bytes_left = policy.history_bytes

    async def read(self, room_id: RoomId, *, after: int, limit: int) -> list[Entry]:
        """Return a page as `Repository.read` does, with at least one entry if there is any.

        Raises RoomNotFoundError, and UnavailableError, also if its turn has not come within
        `history_patience` seconds.
        """
        with trio.move_on_after(self._policy.history_patience) as patience:
            await self._turns.acquire()
        if patience.cancelled_caught:
            raise UnavailableError("Too many clients are reading old messages.")
        try:
            return await self._repository.read(
                room_id,
                after=after,
                limit=min(limit, self._policy.read_limit),
                max_bytes=min(self._policy.read_bytes, max(0, self._bytes_left) // _SHARES),
            )
        finally:
            self._turns.release()

    @contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Count `size` bytes as waiting for a client while in the block."""
        self._bytes_left -= size
        try:
            yield
        finally:
            self._bytes_left += size
