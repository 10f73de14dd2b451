"""What is wrong with the world and when: asked by whatever misbehaves, and by the invariants."""

import enum
from collections.abc import Collection
from dataclasses import dataclass

import trio


class Fault(enum.StrEnum):
    OUTAGE = "outage"
    """The Repository answers nobody."""
    SEVERED = "severed"
    """The Repository does not answer one process."""
    CHAOS = "chaos"
    """Single calls of the Repository fail, lose their answer or come too late."""
    LATE = "late"
    """A commit hangs on of which the caller was told that it failed."""
    SLOW = "slow"
    """All calls of the Repository take long."""
    NOISE = "noise"
    """The bus loses, repeats, delays and reorders."""
    CUT = "cut"
    """The bus does not reach a process, or any."""
    FROZEN = "frozen"
    """A process stands still, like after SIGSTOP."""
    ENDED = "ended"
    """A process was killed or stopped."""


REPOSITORY = frozenset({Fault.OUTAGE, Fault.SEVERED, Fault.CHAOS, Fault.LATE, Fault.SLOW})
STALLS = REPOSITORY | {Fault.FROZEN}


@dataclass
class Disturbance:
    fault: Fault
    whom: int | None
    """The number of the process that it is about; None: all."""
    start: float
    end: float
    strength: int = 0

    def concerns(self, whom: int) -> bool:
        return self.whom is None or self.whom == whom


class Faults:
    """All disturbances of one history. Times are the clock's."""

    def __init__(self) -> None:
        self.all: list[Disturbance] = []
        self._active: list[Disturbance] = []

    def begin(
        self, fault: Fault, whom: int | None, seconds: float, strength: int = 0
    ) -> Disturbance:
        now = trio.current_time()
        disturbance = Disturbance(fault, whom, now, now + seconds, strength)
        self.all.append(disturbance)
        self._active.append(disturbance)
        return disturbance

    def now(self, fault: Fault, whom: int) -> Disturbance | None:
        """Return the newest disturbance of this sort that this process has now."""
        if not self._active:
            return None
        now = trio.current_time()
        self._active = [d for d in self._active if d.end > now]
        for disturbance in reversed(self._active):
            if disturbance.fault is fault and disturbance.concerns(whom):
                return disturbance
        return None

    def clear(self) -> None:
        """End everything, now. What is late stays late."""
        now = trio.current_time()
        for disturbance in self._active:
            if disturbance.fault is not Fault.LATE:
                disturbance.end = min(disturbance.end, now)
        self._active = []

    def between(
        self, start: float, end: float, faults: Collection[Fault], whom: int | None = None
    ) -> bool:
        """Return whether any of these faults touched the time (for `whom`, or for anybody)."""
        return any(
            d.fault in faults and d.start <= end and d.end >= start
            for d in self.all
            if whom is None or d.concerns(whom)
        )
