"""Opening the file: what every connection to it has in common."""

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sharechat.domain.errors import UnavailableError

_BUSY_TIMEOUT = 1.0
"""Seconds that a statement waits for another program, such as the `sqlite3` shell."""

_WRITER_CACHE = 16 << 10
"""KiB of pages that the writer keeps."""

_READER_CACHE = 4 << 10
"""KiB of pages that each reader keeps."""

_CHECKPOINT_AFTER = 4000
"""Pages in the write-ahead log at which they are copied to the database: 16 MiB."""

_LOG_LIMIT = 64 << 20
"""Bytes that the write-ahead log keeps of the disk after a large commit."""


_HEADER = b"SQLite format 3\0"
"""What every database begins with (https://sqlite.org/fileformat.html, section 1.3)."""


def check_header(path: Path) -> None:
    """Raise UnavailableError if there is a file that is not a database. Raises OSError."""
    try:
        with path.open("rb") as file:
            header = file.read(len(_HEADER))
    except FileNotFoundError:
        return
    if header and header != _HEADER:
        raise UnavailableError(f"{path} is not a database.")


def create(path: Path) -> None:
    """Make an empty file, which only its owner may read, unless there is one. Raises OSError."""
    # SQLite would make it with the rights of the umask. Its other files take after this one.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def connect_writer(path: Path) -> sqlite3.Connection:
    """Open a file that exists, to read and write. Raises sqlite3.Error.

    Transactions begin and end where the caller says so.
    """
    connection = open_file(path, "rw")
    try:
        configure_writer(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a file that exists, to read. Raises sqlite3.Error."""
    connection = open_file(path, "ro")
    try:
        connection.execute(f"PRAGMA cache_size = -{_READER_CACHE}")
    except BaseException:
        connection.close()
        raise
    return connection


def open_file(path: Path, mode: str) -> sqlite3.Connection:
    """Open a file that exists without looking into it. Raises sqlite3.Error."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=_BUSY_TIMEOUT,
        isolation_level=None,
        # A reader's statement is interrupted from another thread.
        check_same_thread=False,
    )


def configure_writer(connection: sqlite3.Connection) -> None:
    """Set what all writing depends on. Raises sqlite3.Error."""
    connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE}")
    connection.execute("PRAGMA journal_mode = WAL")
    # Every commit is on the disk before it returns.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_AFTER}")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")
