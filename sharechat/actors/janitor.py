"""The janitor: clears up after dead processes, lost members and abandoned rooms."""

from collections.abc import Callable, Collection

import structlog
import trio

from sharechat.actors.journal import Journal
from sharechat.actors.lease import Lease
from sharechat.actors.policy import Policy
from sharechat.domain import messages
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import MemberId
from sharechat.domain.ports import Present, Queue, Repository
from sharechat.domain.sources import Sources

log = structlog.get_logger()


class Janitor:
    """One task, without a mailbox: it works every `lease_interval` seconds.

    It also works as soon as the Lease sees that a process has died. `present()` returns the
    members who are connected to this process.
    """

    def __init__(
        self,
        repository: Repository,
        queue: Queue,
        lease: Lease,
        journal: Journal,
        present: Callable[[], Collection[MemberId]],
        policy: Policy,
        sources: Sources,
    ) -> None:
        self._repository = repository
        self._queue = queue
        self._lease = lease
        self._journal = journal
        self._present = present
        self._policy = policy
        self._sources = sources
        self._reconcile_at = float("-inf")
        self._clean_at = float("-inf")

    async def run(self) -> None:
        """Run the actor until cancelled; cancelling leaves nothing behind."""
        while True:
            try:
                await self._work()
            except UnavailableError as error:
                log.warning("cannot clear up", reason=str(error))
            with trio.move_on_after(self._policy.lease_interval):
                await self._lease.someone_died()

    async def _work(self) -> None:
        now = trio.current_time()
        for process_id, renewal in self._lease.dead.items():
            log.warning("a process is dead, its members leave", process=process_id)
            await self._repository.end_lease(process_id, renewal)
        self._make_leave(await self._repository.get_orphans())
        if now >= self._reconcile_at:
            await self._reconcile()
            self._reconcile_at = now + self._policy.reconcile_interval
        if now >= self._clean_at:
            ages = self._policy.room_ttl, self._policy.unjoined_ttl
            for room_id in await self._repository.remove_stale_rooms(*ages):
                log.info("room removed", room=room_id)
                self._queue.publish_look(room_id)
            self._clean_at = now + min(60, max(1, self._policy.room_ttl / 4))

    async def _reconcile(self) -> None:
        """Make those leave who are stored as members through this process but not connected.

        A `joined` ends like that if it was committed although its commit seemed to fail.
        """
        stored = await self._repository.get_members_of(self._lease.process_id)
        # Read after the stored members: whoever connects in between must not be made to leave.
        here = set(self._present())
        self._make_leave([who for who in stored if who.member.id not in here])

    def _make_leave(self, members: Collection[Present]) -> None:
        for room_id, member in members:
            self._journal.leave(messages.left(self._sources.message_id(), room_id, member))
