"""Copying a database while a server uses it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sharechat.adapters.sqlite.connecting import create, open_file
from sharechat.adapters.sqlite.errors import map_error
from sharechat.adapters.sqlite.migrate import check_is_ours
from sharechat.domain.errors import UnavailableError

_PAGES_AT_ONCE = 2000
"""Pages that are copied before Ctrl-C is noticed: 8 MiB."""


def back_up(source: Path, target: Path) -> None:
    """Copy the database at `source`, as it is when this is called, to a new file at `target`.

    A server that uses it goes on, and what it writes meanwhile is not in the copy. `target`
    appears once it is complete and on the disk. Raises FileExistsError if there is one already,
    SchemaError if `source` is not one of our databases, other OSErrors, and UnavailableError.
    """
    if target.exists():
        raise FileExistsError(f"There is a file {target} already.")
    if not source.exists():
        raise UnavailableError(f"There is no database {source}.")
    with _temporary(target) as copy:
        try:
            _copy(source, copy)
        except sqlite3.Error as error:
            raise map_error(error) from error
        # A name that somebody has taken meanwhile is not taken away again.
        os.link(copy, target)
    _sync_folder(target.parent)


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """Make a file beside `target`, which is removed at the end."""
    copy = target.with_name(f".{target.name}.{os.getpid()}.part")
    create(copy)
    try:
        yield copy
    finally:
        for suffix in ("", "-journal"):
            with suppress(OSError):
                copy.with_name(f"{copy.name}{suffix}").unlink()


def _copy(source: Path, copy: Path) -> None:
    with closing(open_file(source, "ro")) as from_, closing(open_file(copy, "rw")) as to:
        check_is_ours(from_)
        # One transaction for all of it: else each change would make SQLite begin again.
        from_.execute("BEGIN")
        from_.execute("SELECT count(*) FROM sqlite_master").fetchall()
        from_.backup(to, pages=_PAGES_AT_ONCE)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
