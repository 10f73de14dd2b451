"""Which faults a history has and when, for the fakes that misbehave and for the invariants."""

import enum
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import trio


class UnexpectedError(Exception):
    """An error that no adapter may raise: it stands for a bug."""


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
    """Calls of the Repository, or only large queries, take long, also to cancel."""
    ERRORS = "errors"
    """Single calls of the Repository raise an error that no adapter may raise: a bug."""
    NOISE = "noise"
    """The bus loses, repeats, delays and reorders."""
    REDIS = "redis"
    """Redis fails, or one connection to it."""
    OVERLOAD = "overload"
    """The network to Redis is slow, or its buffers are small. It lasts to the end."""
    CUT = "cut"
    """The bus does not reach one process, or all, in one direction or both."""
    CLOCK = "clock"
    """The clock of the Repository was set."""
    FROZEN = "frozen"
    """A process does not run, as after SIGSTOP."""
    ENDED = "ended"
    """A process was killed or stopped."""


REPOSITORY = frozenset(
    {Fault.OUTAGE, Fault.SEVERED, Fault.CHAOS, Fault.LATE, Fault.SLOW, Fault.ERRORS}
)
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
    incoming: bool = True
    """Whether a cut stops what comes to the process."""
    outgoing: bool = True
    """Whether a cut stops what the process publishes."""

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
        return next(self.active(fault, process), None)

    def active(self, fault: Fault, process: int) -> Iterator[Disturbance]:
        """Yield all disturbances of this kind that affect a process now, the newest first."""
        if not self._active:
            return
        now = trio.current_time()
        self._active = [d for d in self._active if d.end > now]
        for disturbance in reversed(self._active):
            if disturbance.fault is fault and disturbance.affects(process):
                yield disturbance

    def clear(self) -> None:
        """End every disturbance now, except late commits and small buffers."""
        now = trio.current_time()
        for disturbance in self._active:
            if disturbance.fault not in (Fault.LATE, Fault.OVERLOAD):
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
