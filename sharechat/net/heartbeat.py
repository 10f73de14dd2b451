"""One task for the timers of all connections: it sends pings and cuts off silent peers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

_PERIOD = 1
"""Seconds from one beat to the next. Connections count silence in beats."""

_AT_ONCE = 500


class Beating(Protocol):
    """What a Heartbeat calls."""

    def beat(self, now: float) -> None:
        """Do what is due at time `now`. Called once a second. Neither waits nor raises."""
        ...


class Heartbeat:
    """Calls `beat` on every watched connection once a second.

    A timer for each of thousands of connections would cost more than that.
    """

    def __init__(self) -> None:
        # A dict keeps the order in which they came, so that a simulation repeats exactly.
        self._watched: dict[Beating, None] = {}

    @contextmanager
    def watch(self, connection: Beating) -> Iterator[None]:
        """Call the connection's `beat` while in the block."""
        self._watched[connection] = None
        try:
            yield
        finally:
            del self._watched[connection]

    async def run(self) -> None:
        """Run until cancelled; cancelling leaves nothing behind."""
        while True:
            await trio.sleep(_PERIOD)
            for index, connection in enumerate(list(self._watched)):
                connection.beat(trio.current_time())
                if index % _AT_ONCE == _AT_ONCE - 1:
                    await trio.lowlevel.checkpoint()
