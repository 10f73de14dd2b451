"""psycopg's errors, and what each means to whoever uses the port."""

import psycopg
from psycopg import errors

from sharechat.domain.errors import RejectedError, SharechatError, UnavailableError

AWAY = "The database cannot be reached."
SLOW = "The database did not answer in time."

# The first class that fits decides, so the special ones stand before the general.
_MEANINGS: list[tuple[type[psycopg.Error], type[SharechatError], str]] = [
    (psycopg.DataError, RejectedError, "The database cannot store this."),
    (psycopg.IntegrityError, RejectedError, "The database cannot store this."),
    (errors.ProgramLimitExceeded, RejectedError, "This is too large for the database."),
    (errors.ReadOnlySqlTransaction, UnavailableError, "The database takes no changes."),
    (errors.AdminShutdown, UnavailableError, "The database is stopping."),
    (errors.CrashShutdown, UnavailableError, "The database is restarting."),
    (errors.CannotConnectNow, UnavailableError, "The database is starting."),
    (errors.ConnectionTimeout, UnavailableError, SLOW),
    (errors.QueryCanceled, UnavailableError, SLOW),
    (errors.LockNotAvailable, UnavailableError, "The database is busy."),
    (errors.SerializationFailure, UnavailableError, "The database is busy."),
    (errors.DeadlockDetected, UnavailableError, "The database is busy."),
    (errors.TooManyConnections, UnavailableError, "The database has too many connections."),
    (errors.InsufficientResources, UnavailableError, "The database is short of resources."),
    (errors.InsufficientPrivilege, UnavailableError, "The database denies access."),
    (errors.UndefinedTable, UnavailableError, "The database has not been set up."),
    (errors.UndefinedFunction, UnavailableError, "The database has not been set up."),
    (psycopg.OperationalError, UnavailableError, AWAY),
    (psycopg.InterfaceError, UnavailableError, AWAY),
    (psycopg.Error, UnavailableError, "The database failed."),
]


def meaning(error: psycopg.Error) -> SharechatError:
    """Return the error to raise in place of psycopg's; its text names no inner detail."""
    for vendors, ours, sentence in _MEANINGS:
        if isinstance(error, vendors):
            return ours(sentence)
    raise AssertionError("every error of psycopg's is a psycopg.Error") from error
