"""The members who are coming in at present: a bounded number at a time."""

import trio

from sharechat.actors.policy import Policy
from sharechat.domain.errors import UnavailableError


class Arrival:
    """The turn of one who comes in. It ends with `end`, and ending it again does nothing."""

    __slots__ = ("_turns",)

    def __init__(self, turns: trio.Semaphore) -> None:
        self._turns: trio.Semaphore | None = turns

    def end(self) -> None:
        """Let the next one come in."""
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.release()


class Arrivals:
    """Lets `arrivals_at_once` members come in at a time, and the others wait, in order.

    Coming in takes several queries. After a restart thousands come at once: if all of them began,
    each step of theirs would wait for a step of every other one, until all are given up as too
    slow and come again.
    """

    def __init__(self, policy: Policy) -> None:
        self._patience = policy.arrival_patience
        self._turns = trio.Semaphore(policy.arrivals_at_once)

    async def wait(self) -> Arrival:
        """Wait for one's turn, and return it; the caller ends it.

        Raises UnavailableError if it has not come within `arrival_patience` seconds.
        """
        try:
            # There nearly always is one, and a query follows, which is a checkpoint.
            self._turns.acquire_nowait()
        except trio.WouldBlock:
            with trio.move_on_after(self._patience) as patience:
                await self._turns.acquire()
            if patience.cancelled_caught:
                raise UnavailableError("Too many members are coming in.") from None
        return Arrival(self._turns)
