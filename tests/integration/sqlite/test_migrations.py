"""`prepare` on files in every state."""

from pathlib import Path

import pytest

from sharechat.adapters.sqlite import SchemaError
from sharechat.domain.errors import UnavailableError
from tests.harness.repositories import make_room, read_log, set_up_member
from tests.harness.sqlite import look_into, open_sqlite


async def test_an_empty_file_is_set_up(path: Path) -> None:
    path.touch()
    async with open_sqlite(path) as repository:
        await make_room(repository)


async def test_a_file_that_is_opened_again_has_what_it_had(path: Path) -> None:
    async with open_sqlite(path) as repository:
        _, room, member = await set_up_member(repository)
        log = await read_log(repository, room)
    async with open_sqlite(path) as repository:
        assert await read_log(repository, room) == log
        assert await repository.get_members(room) == [member]


async def test_a_file_with_a_later_schema_is_refused(path: Path) -> None:
    async with open_sqlite(path):
        pass
    with look_into(path) as file:
        file.execute("PRAGMA user_version = 999")
    with pytest.raises(SchemaError, match="999"):
        async with open_sqlite(path):
            pass


async def test_the_database_of_another_program_is_refused_and_not_changed(path: Path) -> None:
    with look_into(path) as file:
        file.execute("CREATE TABLE bookmarks (url TEXT)")
        before = file.execute("SELECT * FROM sqlite_master").fetchall()
    with pytest.raises(SchemaError, match="another program"):
        async with open_sqlite(path):
            pass
    with look_into(path) as file:
        assert file.execute("SELECT * FROM sqlite_master").fetchall() == before
        assert file.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)
    with pytest.raises(UnavailableError, match="not a database"):
        async with open_sqlite(path):
            pass
    assert path.read_text().startswith("Dear diary")
    assert list(path.parent.iterdir()) == [path]
