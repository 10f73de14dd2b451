"""This process's lease: the identity that its members join through, and proof that it lives."""

from collections.abc import Callable, Mapping

import structlog
import trio

from sharechat.actors.lease_watcher import LeaseWatcher
from sharechat.actors.policy import Policy
from sharechat.domain.errors import LeaseLostError, UnavailableError
from sharechat.domain.ids import ProcessId
from sharechat.domain.ports import Repository
from sharechat.domain.sources import Sources

log = structlog.get_logger()


class Lease:
    """One task, without a mailbox: it renews the lease every `lease_interval` seconds.

    If the other processes have declared this one dead, it takes a new `process_id`, calls
    `lost()`, and opens a lease for the new id.
    """

    def __init__(
        self, repository: Repository, lost: Callable[[], None], policy: Policy, sources: Sources
    ) -> None:
        self.process_id: ProcessId = sources.process_id()
        """Whom members join through: the owner of the current lease."""
        self._repository = repository
        self._lost = lost
        self._policy = policy
        self._sources = sources
        self._watcher = LeaseWatcher(policy.lease_ttl, patience=policy.lease_ttl / 2)
        self._dead: Mapping[ProcessId, int] = {}
        self._someone_died = trio.Event()
        self._closing = False

    @property
    def dead(self) -> Mapping[ProcessId, int]:
        """The other processes that count as dead now, each with its renewal number."""
        return {id_: number for id_, number in self._dead.items() if id_ != self.process_id}

    async def someone_died(self) -> None:
        """Wait until a renewal shows that some process has died."""
        await self._someone_died.wait()
        self._someone_died = trio.Event()

    async def open(self) -> None:
        """Register this process. Raises UnavailableError. Must return before `run` is called."""
        await self._repository.open_lease(self.process_id)
        # Others name this process so, should they find it dead.
        log.info("lease opened", process=self.process_id)

    async def close(self) -> None:
        """Give the lease back: whoever is still a member through it leaves at once.

        If the Repository cannot be reached, the lease runs out by itself.
        """
        self._closing = True
        try:
            await self._repository.end_lease(self.process_id)
        except UnavailableError as error:
            log.warning("lease could not be given back", reason=str(error))

    async def run(self) -> None:
        """Renew the lease until cancelled. Once it has been given back, do nothing more.

        A renewal that took longer than the interval is followed by the next one at once: two that
        are cut off by short outages would otherwise cost the lease.
        """
        while True:
            began = trio.current_time()
            try:
                renewals = await self._repository.renew_lease(self.process_id)
            except LeaseLostError:
                if self._closing:
                    await trio.sleep_forever()
                await self._start_afresh()
            except UnavailableError as error:
                log.warning("lease could not be renewed", reason=str(error))
                self._watcher.forget()
                self._dead = {}
            else:
                self._dead = self._watcher.observe(renewals, trio.current_time())
                if self._dead:
                    self._someone_died.set()
            await trio.sleep_until(began + self._policy.lease_interval)

    async def _start_afresh(self) -> None:
        log.warning("lease lost, starting afresh", process=self.process_id)
        self.process_id = self._sources.process_id()
        self._lost()
        try:
            await self.open()
        except UnavailableError as error:
            # The next renewal finds no lease and leads here again.
            log.warning("lease could not be opened", reason=str(error))
