"""The table that turns SQLite's errors into the domain's."""

import sqlite3

from sharechat.domain.errors import RejectedError, SharechatError, UnavailableError

BUSY = "The database is busy."
CLOSED = "The database is closed."
TIMED_OUT = "The database did not answer in time."

_FAILED = "The database failed."

_ERROR_MAP: dict[int, tuple[type[SharechatError], str]] = {
    sqlite3.SQLITE_TOOBIG: (RejectedError, "This is too large for the database."),
    sqlite3.SQLITE_CONSTRAINT: (RejectedError, "The database cannot store this."),
    sqlite3.SQLITE_MISMATCH: (RejectedError, "The database cannot store this."),
    sqlite3.SQLITE_FULL: (UnavailableError, "The database has no space left on its disk."),
    sqlite3.SQLITE_IOERR: (UnavailableError, "The database cannot use its file."),
    sqlite3.SQLITE_CANTOPEN: (UnavailableError, "The database cannot open its file."),
    sqlite3.SQLITE_READONLY: (UnavailableError, "The database is read-only."),
    sqlite3.SQLITE_PERM: (UnavailableError, "The database denies access."),
    sqlite3.SQLITE_AUTH: (UnavailableError, "The database denies access."),
    sqlite3.SQLITE_BUSY: (UnavailableError, BUSY),
    sqlite3.SQLITE_LOCKED: (UnavailableError, BUSY),
    sqlite3.SQLITE_PROTOCOL: (UnavailableError, BUSY),
    sqlite3.SQLITE_NOMEM: (UnavailableError, "The database is short of memory."),
    sqlite3.SQLITE_INTERRUPT: (UnavailableError, TIMED_OUT),
    sqlite3.SQLITE_CORRUPT: (UnavailableError, "The database is damaged."),
    sqlite3.SQLITE_NOTADB: (UnavailableError, "The file is not a database."),
}

_CURED_BY_OPENING = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
}


def map_error(error: sqlite3.Error) -> SharechatError:
    """Return the error to raise instead of `error`.

    Clients may see its text, so the text does not show where the file is.
    """
    type_, text = _ERROR_MAP.get(_primary_code(error), (UnavailableError, _FAILED))
    mapped = type_(text)
    mapped.__cause__ = error
    return mapped


def outlives_its_connection(error: sqlite3.Error) -> bool:
    """Return False if the error may last as long as the connection, whatever is repaired.

    SQLite opens a file that it may not write read-only, and keeps it so.
    """
    return _primary_code(error) not in _CURED_BY_OPENING


def _primary_code(error: sqlite3.Error) -> int:
    # An error that the module itself raises has no code. The low byte is what kind of error it
    # is, and the others are details.
    code: int = getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR
    return code & 0xFF
