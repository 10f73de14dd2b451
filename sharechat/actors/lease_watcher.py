"""Which processes have died, judged from their lease renewals by the observer's own clock."""

from collections.abc import Mapping
from typing import NamedTuple

from sharechat.domain.ids import ProcessId


class _Seen(NamedTuple):
    renewal: int
    at: float


class LeaseWatcher:
    """Watches the renewal numbers of all processes.

    A process is dead if its number has not changed for `ttl` seconds during which this
    observer looked at least every `patience` seconds. An observer that was cut off or frozen
    starts over, so an outage of the Repository makes nobody count as dead.
    """

    def __init__(self, ttl: float, patience: float) -> None:
        self._ttl = ttl
        self._patience = patience
        self._seen: dict[ProcessId, _Seen] = {}
        self._looked_at = float("-inf")

    def forget(self) -> None:
        """Start over: the renewal numbers could not be read."""
        self._seen.clear()

    def observe(self, renewals: Mapping[ProcessId, int], now: float) -> dict[ProcessId, int]:
        """Take what `renew_lease` returned at time `now`; return the dead with their numbers."""
        if now - self._looked_at > self._patience:
            self.forget()
        self._looked_at = now
        seen = {}
        for process_id, renewal in renewals.items():
            before = self._seen.get(process_id)
            unchanged = before is not None and before.renewal == renewal
            seen[process_id] = before if before and unchanged else _Seen(renewal, now)
        self._seen = seen
        return {id_: s.renewal for id_, s in seen.items() if now - s.at >= self._ttl}
