"""Waiting in real time, with a timeout: what a process or a socket does has no fake clock."""

import time
from collections.abc import Callable

import trio

DEADLINE = 20.0
"""Seconds that any single step may take; generous, since the machine may be busy."""


def wait_until(holds: Callable[[], object], within: float = DEADLINE) -> None:
    """Poll, blocking, for a condition that has no event. Raises TimeoutError."""
    give_up = time.monotonic() + within
    while not holds():
        if time.monotonic() > give_up:
            raise TimeoutError(f"the condition did not hold within {within} seconds")
        time.sleep(0.02)


async def eventually(holds: Callable[[], object], within: float = DEADLINE) -> None:
    """Call `wait_until` in a thread."""
    await trio.to_thread.run_sync(wait_until, holds, within)
