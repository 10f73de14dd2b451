"""SqliteRepositories, and the file behind the back of one."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from math import inf
from pathlib import Path

from sharechat.adapters.sqlite import SqliteRepository


@asynccontextmanager
async def open_sqlite(path: Path, *, max_bytes: float = inf) -> AsyncIterator[SqliteRepository]:
    repository = SqliteRepository(path, max_bytes=max_bytes)
    try:
        await repository.prepare()
        yield repository
    finally:
        await repository.aclose()


@contextmanager
def look_into(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file as another program would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@contextmanager
def lock_for_writing(path: Path) -> Iterator[None]:
    """Keep everybody else from writing, as another program would."""
    with look_into(path) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
