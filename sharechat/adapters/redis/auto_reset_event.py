"""An event that is unset again once it has been waited for."""

import trio


class AutoResetEvent:
    """An event for one waiting task that is unset again when `wait` returns."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Wait until `set` is called, unless it was called since the last `wait`."""
        await self._event.wait()
        self._event = trio.Event()
