"""The Repository and the Queue in the process's own memory.

They keep the contracts of `sharechat.domain.ports` as strictly as the adapters that use the
network. A server without Postgres and Redis runs on them, and so do most tests.
"""

from sharechat.adapters.memory.queue import MemoryBus, MemoryQueue
from sharechat.adapters.memory.repository import MemoryRepository

__all__ = ["MemoryBus", "MemoryQueue", "MemoryRepository"]
