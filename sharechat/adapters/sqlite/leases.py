"""The leases of processes."""

from collections.abc import Collection, Mapping

from sharechat.domain.errors import LeaseLostError
from sharechat.domain.ids import ProcessId


class Leases:
    """Which processes are alive, as this process knows it.

    They are in memory: only one process at a time uses a file, so whichever used it before is
    dead, and nobody else watches the renewals. A server that nobody uses writes nothing.
    """

    def __init__(self) -> None:
        self._renewals: dict[ProcessId, int] = {}
        self._dead: set[ProcessId] = set()

    @property
    def alive(self) -> Collection[ProcessId]:
        return list(self._renewals)

    def lives(self, process_id: ProcessId) -> bool:
        """May be called in any thread."""
        return process_id in self._renewals

    def open(self, process_id: ProcessId) -> None:
        if process_id not in self._dead:
            self._renewals.setdefault(process_id, 0)

    def renew(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        """Raises LeaseLostError."""
        if process_id not in self._renewals:
            raise LeaseLostError
        self._renewals[process_id] += 1
        return dict(self._renewals)

    def end(self, process_id: ProcessId, renewal: int | None) -> bool:
        if renewal is None or self._renewals.get(process_id, renewal) == renewal:
            self._renewals.pop(process_id, None)
            self._dead.add(process_id)
        return process_id not in self._renewals
