"""How much memory a process takes while a test runs."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, Self

import trio

MIB = 1 << 20


def resident_memory(pid: int | None = None) -> int:
    """Return a process's resident memory, in bytes; by default this process's."""
    pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class Measurable(Protocol):
    @property
    def memory(self) -> int:
        """Its resident memory, in bytes."""
        ...


class ThisProcess:
    """The test's own process, where a server runs in it."""

    @property
    def memory(self) -> int:
        return resident_memory()


class MemoryWatch:
    """Samples a server's resident memory every 20 ms."""

    def __init__(self, server: Measurable) -> None:
        self._server = server
        self._before = server.memory
        self.growth = 0
        """Bytes by which the highest sample exceeds the memory at the start."""

    @classmethod
    @asynccontextmanager
    async def during(cls, server: Measurable) -> AsyncIterator[Self]:
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
