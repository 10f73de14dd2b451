"""The members who are coming in at present: a bounded number at a time."""

import trio

from sharechat.actors.policy import Policy
from sharechat.domain.telemetry import SILENT, Level, Telemetry


class Arrivals:
    """One task, and turns: `arrivals_at_once` members come in at a time, the others wait.

    Coming in takes several queries. After a restart thousands come at once: if all of them began,
    each step of theirs would wait for a step of every other one, until all are given up as too
    slow and come again.

    While others wait, the task ends every turn that has lasted for `longest_arrival` seconds: what
    holds up some members, such as a client that does not read, must not hold up all.
    """

    def __init__(self, policy: Policy, telemetry: Telemetry = SILENT) -> None:
        self._longest = policy.longest_arrival
        self._turns = trio.Semaphore(policy.arrivals_at_once)
        # When each turn began, in this order.
        self._begun: dict[Arrival, float] = {}
        self._crowded = trio.Event()
        telemetry.watch(Level.ARRIVALS_WAITING, self._waiting)

    def _waiting(self) -> int:
        return self._turns.statistics().tasks_waiting

    async def run(self) -> None:
        """Run the actor until cancelled; cancelling leaves every turn as it is."""
        while True:
            await self._crowded.wait()
            self._crowded = trio.Event()
            while self._waiting():
                await trio.sleep(self._longest / 4)
                overdue = trio.current_time() - self._longest
                for arrival in [a for a, begun in self._begun.items() if begun <= overdue]:
                    arrival.end()

    async def wait(self) -> "Arrival":
        """Wait for one's turn, in order of coming, and return it; the caller ends it."""
        try:
            # There nearly always is one, and accepting the handshake is a checkpoint.
            self._turns.acquire_nowait()
        except trio.WouldBlock:
            self._crowded.set()
            await self._turns.acquire()
        arrival = Arrival(self)
        self._begun[arrival] = trio.current_time()
        return arrival

    def end(self, arrival: "Arrival") -> None:
        """End a turn, unless it has ended."""
        if self._begun.pop(arrival, None) is not None:
            self._turns.release()


class Arrival:
    """The turn of a member who comes in."""

    __slots__ = ("_arrivals",)

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    def end(self) -> None:
        """Let the next one come in. Does nothing if the turn has ended."""
        self._arrivals.end(self)
