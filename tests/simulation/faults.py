"""Which faults a history has and when, for the fakes that misbehave and for the invariants."""

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
    """Single calls of the Repository fail, lose their answers or take effect too late."""
    LATE = "late"
    """A commit continues although its caller was told that it failed."""
    SLOW = "slow"
    """All calls of the Repository take long."""
    NOISE = "noise"
    """The bus loses, repeats, delays and reorders."""
    CUT = "cut"
    """The bus does not reach one process, or all."""
    FROZEN = "frozen"
    """A process does not run, as after SIGSTOP."""
    ENDED = "ended"
    """A process was killed or stopped."""


REPOSITORY = frozenset({Fault.OUTAGE, Fault.SEVERED, Fault.CHAOS, Fault.LATE, Fault.SLOW})
STALLS = REPOSITORY | {Fault.FROZEN}


@dataclass
class Disturbance:
    """One fault that lasts for some time."""

    fault: Fault
    process: int | None
    """The number of the process that is affected; None means all."""
    start: float
    end: float
    strength: int = 0
    """How severe it is; each kind of fault has its own scale."""

    def affects(self, process: int) -> bool:
        return self.process is None or self.process == process


class Faults:
    """All disturbances of one history. Times are the simulated clock's."""

    def __init__(self) -> None:
        self.all: list[Disturbance] = []
        self._active: list[Disturbance] = []

    def begin(
        self, fault: Fault, process: int | None, seconds: float, strength: int = 0
    ) -> Disturbance:
        now = trio.current_time()
        disturbance = Disturbance(fault, process, now, now + seconds, strength)
        self.all.append(disturbance)
        self._active.append(disturbance)
        return disturbance

    def now(self, fault: Fault, process: int) -> Disturbance | None:
        """Return the newest disturbance of this kind that affects a process now."""
        if not self._active:
            return None
        now = trio.current_time()
        self._active = [d for d in self._active if d.end > now]
        for disturbance in reversed(self._active):
            if disturbance.fault is fault and disturbance.affects(process):
                return disturbance
        return None

    def clear(self) -> None:
        """End every disturbance now, except late commits."""
        now = trio.current_time()
        for disturbance in self._active:
            if disturbance.fault is not Fault.LATE:
                disturbance.end = min(disturbance.end, now)
        self._active = []

    def between(
        self, start: float, end: float, faults: Collection[Fault], process: int | None = None
    ) -> bool:
        """Return whether there was any of these faults (for `process`, or for any) in the time."""
        return any(
            d.fault in faults and d.start <= end and d.end >= start
            for d in self.all
            if process is None or d.affects(process)
        )
