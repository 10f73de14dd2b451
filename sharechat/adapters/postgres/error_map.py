"""The table that turns psycopg's errors into the domain's."""

import psycopg
from psycopg import errors

from sharechat.domain.errors import RejectedError, SharechatError, UnavailableError

UNREACHABLE = "The database cannot be reached."
TIMED_OUT = "The database did not answer in time."

# The first class that matches decides, so subclasses come before their base classes.
_ERROR_MAP: list[tuple[type[psycopg.Error], type[SharechatError], str]] = [
    (psycopg.DataError, RejectedError, "The database cannot store this."),
    (psycopg.IntegrityError, RejectedError, "The database cannot store this."),
    (errors.ProgramLimitExceeded, RejectedError, "This is too large for the database."),
    (errors.ReadOnlySqlTransaction, UnavailableError, "The database is read-only."),
    (errors.AdminShutdown, UnavailableError, "The database is stopping."),
    (errors.CrashShutdown, UnavailableError, "The database is restarting."),
    (errors.CannotConnectNow, UnavailableError, "The database is starting."),
    (errors.ConnectionTimeout, UnavailableError, TIMED_OUT),
    (errors.QueryCanceled, UnavailableError, TIMED_OUT),
    (errors.LockNotAvailable, UnavailableError, "The database is busy."),
    (errors.SerializationFailure, UnavailableError, "The database is busy."),
    (errors.DeadlockDetected, UnavailableError, "The database is busy."),
    (errors.TooManyConnections, UnavailableError, "The database has too many connections."),
    (errors.DiskFull, UnavailableError, "The database has no space left on its disk."),
    (errors.OutOfMemory, UnavailableError, "The database is short of resources."),
    (errors.ConfigurationLimitExceeded, UnavailableError, "The database is short of resources."),
    (errors.InsufficientResources, UnavailableError, "The database is short of resources."),
    (errors.SystemError, UnavailableError, "The database cannot use its files."),
    (errors.IoError, UnavailableError, "The database cannot use its files."),
    (errors.UndefinedFile, UnavailableError, "The database cannot use its files."),
    (errors.InsufficientPrivilege, UnavailableError, "The database denies access."),
    (errors.UndefinedTable, UnavailableError, "The database has not been set up."),
    (errors.UndefinedFunction, UnavailableError, "The database has not been set up."),
    (psycopg.OperationalError, UnavailableError, UNREACHABLE),
    (psycopg.InterfaceError, UnavailableError, UNREACHABLE),
    (psycopg.Error, UnavailableError, "The database failed."),
]


def map_error(error: psycopg.Error) -> SharechatError:
    """Return the error to raise instead of `error`.

    Clients may see its text, so the text reveals nothing about the database's internals.
    """
    for vendor_type, our_type, text in _ERROR_MAP:
        if isinstance(error, vendor_type):
            return our_type(text)
    raise AssertionError("every psycopg error is a psycopg.Error") from error
