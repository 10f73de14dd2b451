"""When a process is to stop, and how long it drains before."""

from collections.abc import Awaitable, Callable

import structlog
import trio

from sharechat import systemd

log = structlog.get_logger()


class Stop:
    """Knows whether this process has been told to stop, and lets others wait for it."""

    def __init__(self, drain_delay: float) -> None:
        """Take how many seconds everything is served after the process was told."""
        self.starting = trio.CancelScope()
        """For what would delay the end if it were still starting."""
        self._drain_delay = drain_delay
        self._told = trio.Event()
        self._at_once = trio.Event()

    @property
    def told(self) -> bool:
        return self._told.is_set()

    def tell(self, *, at_once: bool = False) -> None:
        """Let the process stop; `at_once` if there is no use in draining first."""
        systemd.notify(systemd.STOPPING)
        self._told.set()
        if at_once:
            self._at_once.set()
        self.starting.cancel()

    async def tell_after(
        self, wait: Callable[[], Awaitable[object]], *, at_once: bool = False
    ) -> None:
        """Call `tell` when `wait()` has returned."""
        await wait()
        self.tell(at_once=at_once)

    async def drained(self, drain: Callable[[], None]) -> None:
        """Wait until the process was told to stop, call `drain()`, and wait for the delay."""
        await self._told.wait()
        drain()
        if self._drain_delay and not self._at_once.is_set():
            log.info("draining", seconds=self._drain_delay)
            with trio.move_on_after(self._drain_delay):
                await self._at_once.wait()
