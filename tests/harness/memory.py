"""How much memory a server takes while a test runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import trio

from tests.harness.process import SharechatProcess

MIB = 1 << 20


class MemoryWatch:
    """Samples a server's resident memory every 20 ms."""

    def __init__(self, server: SharechatProcess) -> None:
        self._server = server
        self._before = server.memory
        self.growth = 0
        """Bytes by which the highest sample exceeds the memory at the start."""

    @classmethod
    @asynccontextmanager
    async def during(cls, server: SharechatProcess) -> AsyncIterator[Self]:
        """Sample during the block."""
        watch = cls(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch._run)
            yield watch
            nursery.cancel_scope.cancel()
        watch._sample()

    async def _run(self) -> None:
        while True:
            self._sample()
            await trio.sleep(0.02)

    def _sample(self) -> None:
        self.growth = max(self.growth, self._server.memory - self._before)
