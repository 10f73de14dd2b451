"""A Repository on a file of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from sharechat.adapters.sqlite import SqliteRepository
from tests.harness.deadline import DEADLINE
from tests.harness.sqlite import open_sqlite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sharechat.db"


@pytest.fixture
async def repository(path: Path) -> AsyncIterator[SqliteRepository]:
    with trio.fail_after(2 * DEADLINE):
        async with open_sqlite(path) as repository:
            yield repository
