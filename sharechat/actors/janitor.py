"""The janitor: keeps this process's lease, and clears up after dead processes and old rooms."""

from collections.abc import Callable, Collection, Mapping

import structlog
import trio

from sharechat.actors.journal import Journal
from sharechat.actors.lease_watcher import LeaseWatcher
from sharechat.actors.policy import Policy
from sharechat.domain import messages
from sharechat.domain.errors import LeaseLostError, UnavailableError
from sharechat.domain.messages import MemberId, ProcessId, RoomId
from sharechat.domain.ports import Present, Queue, Repository

log = structlog.get_logger()


class Janitor:
    """Two tasks, each at work once every `lease_interval` seconds.

    `present()` are the members that are here; `lost()` is called when the others took
    this process for dead, after which it goes by another `process_id`.
    """

    def __init__(
        self,
        repository: Repository,
        queue: Queue,
        present: Callable[[], Collection[MemberId]],
        lost: Callable[[], None],
        policy: Policy,
    ) -> None:
        self.process_id: ProcessId = messages.new_process_id()
        self._repository = repository
        self._queue = queue
        self._present = present
        self._lost = lost
        self._policy = policy
        self._watcher = LeaseWatcher(policy.lease_ttl, patience=policy.lease_ttl / 2)
        self._dead: Mapping[ProcessId, int] = {}
        self._wake = trio.Event()
        self._closing = False
        self._reconcile_at = float("-inf")
        self._clean_at = float("-inf")

    async def open(self) -> None:
        """Make this process known. Raises UnavailableError; must return before `start`."""
        await self._repository.open_lease(self.process_id)

    async def close(self) -> None:
        """Give the lease back: whoever is still a member through it leaves at once.

        If the Repository cannot be reached the lease runs out by itself.
        """
        self._closing = True
        try:
            await self._repository.end_lease(self.process_id)
        except UnavailableError as error:
            log.warning("lease could not be given back", reason=str(error))

    async def start(self, journal: Journal) -> None:
        """Run the actor until cancelled; cancelling leaves nothing behind."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_lease)
            nursery.start_soon(self._clear_up, journal)

    async def _keep_lease(self) -> None:
        while True:
            try:
                renewals = await self._repository.renew_lease(self.process_id)
            except LeaseLostError:
                if self._closing:
                    return  # It was given back.
                await self._start_afresh()
            except UnavailableError as error:
                log.warning("lease could not be renewed", reason=str(error))
                self._watcher.forget()
                self._dead = {}
            else:
                self._dead = self._watcher.observe(renewals, trio.current_time())
                if self._dead:
                    self._wake.set()
            await trio.sleep(self._policy.lease_interval)

    async def _start_afresh(self) -> None:
        log.warning("lease lost, starting afresh", process=self.process_id)
        self.process_id = messages.new_process_id()
        self._lost()
        try:
            await self.open()
        except UnavailableError as error:
            # The next renewal finds no lease and leads here again.
            log.warning("lease could not be opened", reason=str(error))

    async def _clear_up(self, journal: Journal) -> None:
        # Apart from the lease: however long this takes, that has to be renewed.
        while True:
            try:
                await self._work(journal)
            except UnavailableError as error:
                log.warning("cannot clear up", reason=str(error))
            with trio.move_on_after(self._policy.lease_interval):
                await self._wake.wait()
            self._wake = trio.Event()

    async def _work(self, journal: Journal) -> None:
        now = trio.current_time()
        for process_id, renewal in list(self._dead.items()):
            if process_id != self.process_id:
                log.warning("a process is dead, its members leave", process=process_id)
                await self._repository.end_lease(process_id, renewal)
        self._make_leave(journal, await self._repository.get_orphans())
        if now >= self._reconcile_at:
            await self._reconcile(journal)
            self._reconcile_at = now + self._policy.reconcile_interval
        if now >= self._clean_at:
            for room_id in await self._repository.remove_stale_rooms(self._policy.room_ttl):
                log.info("room removed", room=room_id)
                self._queue.publish(room_id, ())
            self._clean_at = now + min(60, max(1, self._policy.room_ttl / 4))

    async def _reconcile(self, journal: Journal) -> None:
        """Make leave whoever is stored as a member through this process but is not here.

        That is how a `joined` ends whose commit was only seen to fail.
        """
        stored = await self._repository.get_members_of(self.process_id)
        here = set(self._present())
        self._make_leave(journal, [who for who in stored if who.member.id not in here])

    def _make_leave(self, journal: Journal, those: Collection[Present]) -> None:
        for room_id, member in those:
            journal.leave(messages.left(RoomId(room_id), member))
