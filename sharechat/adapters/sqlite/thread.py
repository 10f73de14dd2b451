"""A thread that belongs to a trio program."""

import threading
from collections.abc import Callable
from contextlib import suppress

import trio


class Thread:
    """Runs `target()` in a thread of its own, not one of those that trio lends.

    It is a daemon: if the disk does not answer, it does not keep the program from ending.
    """

    def __init__(self, name: str, target: Callable[[], None]) -> None:
        self._target = target
        self._token = trio.lowlevel.current_trio_token()
        self._over = trio.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._target()
        finally:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._over.set)

    async def wait(self) -> None:
        """Wait until the thread has come to its end."""
        await self._over.wait()
        # It has nothing left to do but to end.
        self._thread.join(1)
