"""What is due on the network, carried out by one task in the order in which it is due."""

import heapq
from collections.abc import Callable

import trio


class Schedule:
    """Calls that are due at some time; those due at the same time keep their order."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._wake = trio.Event()

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Call `do` after some seconds."""
        self.at(trio.current_time() + seconds, do)

    def at(self, time: float, do: Callable[[], None]) -> None:
        """Call `do` at a time of the simulated clock."""
        self._count += 1
        call = (time, self._count, do)
        heapq.heappush(self._due, call)
        if self._due[0] is call:
            self._wake.set()

    async def run(self) -> None:
        while True:
            now = trio.current_time()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            self._wake = trio.Event()
            with trio.move_on_at(self._due[0][0] if self._due else float("inf")):
                await self._wake.wait()
