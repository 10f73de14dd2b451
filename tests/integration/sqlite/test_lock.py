"""One process at a time uses a file."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sharechat.adapters.sqlite import DataInUseError, SqliteRepository
from sharechat.domain.errors import UnavailableError
from tests.harness.deadline import DEADLINE
from tests.harness.repositories import get_head, make_room
from tests.harness.sqlite import open_sqlite

_HOLD = """
import sys, trio
from pathlib import Path
from sharechat.adapters.sqlite import SqliteRepository

async def main():
    repository = SqliteRepository(Path(sys.argv[1]))
    await repository.prepare()
    print("ready", flush=True)
    await trio.sleep_forever()

trio.run(main)
"""


async def test_a_second_user_of_a_file_is_refused(repository: SqliteRepository, path: Path) -> None:
    with pytest.raises(DataInUseError, match=str(path)):
        async with open_sqlite(path):
            pass
    # The first one goes on.
    await make_room(repository)


async def test_neither_does_another_name_let_it_in(
    repository: SqliteRepository, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    other.symlink_to(path)
    with pytest.raises(DataInUseError):
        async with open_sqlite(other):
            pass


async def test_the_file_is_free_again_once_it_is_closed(path: Path) -> None:
    async with open_sqlite(path) as repository:
        room = await make_room(repository)
    async with open_sqlite(path) as repository:
        assert await get_head(repository, room) == 0


async def test_a_process_holds_the_file_until_it_is_killed(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        with pytest.raises(DataInUseError):
            async with open_sqlite(path):
                pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(DEADLINE)
    async with open_sqlite(path) as repository:
        await make_room(repository)


async def test_only_the_owner_may_read_the_files(repository: SqliteRepository, path: Path) -> None:
    await make_room(repository)
    files = list(path.parent.iterdir())
    assert {file.name for file in files} == {
        path.name,
        f"{path.name}.lock",
        f"{path.name}-shm",
        f"{path.name}-wal",
    }
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


async def test_one_file_is_left_when_it_is_closed(path: Path) -> None:
    async with open_sqlite(path) as repository:
        await make_room(repository)
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}


async def test_folders_that_are_missing_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b?#%20 c" / "sharechat.db"
    async with open_sqlite(path) as repository:
        await make_room(repository)
    assert path.exists()


@pytest.mark.parametrize("name", ["file/sharechat.db", "folder"])
async def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnavailableError, match=name):
        async with open_sqlite(tmp_path / name):
            pass
