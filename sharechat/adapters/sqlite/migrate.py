"""Migrations: bring the schema of a file up to date."""

import sqlite3
from contextlib import closing, suppress
from importlib import resources
from pathlib import Path

from sharechat.adapters.sqlite.connecting import configure_writer, open_file
from sharechat.adapters.sqlite.errors import map_error
from sharechat.domain.errors import SharechatError

_APPLICATION_ID = 0x5348_4348
"""Marks a file as one of ours: "SHCH", in the header of the file."""


class SchemaError(SharechatError):
    """The file was set up by a later version of sharechat than this one, or by something else."""


def migrate_file(path: Path) -> None:
    """Call `migrate` on a file that exists. Raises SchemaError, RejectedError, UnavailableError."""
    try:
        with closing(open_file(path, "rw")) as connection:
            # Before anything is changed in what may be another program's file.
            _present_version(connection)
            configure_writer(connection)
            migrate(connection)
    except sqlite3.Error as error:
        raise map_error(error) from error


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the missing migrations, each in its own transaction.

    The version of the schema is the file's `user_version`. Raises SchemaError if the file has
    migrations that this version does not know or is not one of ours, and sqlite3.Error.
    """
    migrations = _migrations()
    present = _present_version(connection)
    if present > len(migrations):
        raise SchemaError(
            f"The database has schema version {present}, but this version of sharechat "
            f"supports only versions up to {len(migrations)}."
        )
    for version in range(present + 1, len(migrations) + 1):
        _apply(connection, version, migrations[version - 1])


def check_is_ours(connection: sqlite3.Connection) -> None:
    """Raise SchemaError unless the file is one that `migrate` has set up; sqlite3.Error."""
    if not _present_version(connection):
        raise SchemaError("The file is empty.")


def _present_version(connection: sqlite3.Connection) -> int:
    ((application,),) = connection.execute("PRAGMA application_id")
    ((version,),) = connection.execute("PRAGMA user_version")
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master")
    if application != _APPLICATION_ID and (application or version or tables):
        raise SchemaError("The file is the database of another program.")
    present: int = version
    return present


def _apply(connection: sqlite3.Connection, version: int, sql: str) -> None:
    # In one script, since `executescript` would commit a transaction that is open already.
    script = (
        f"BEGIN IMMEDIATE;\n{sql}\nPRAGMA application_id = {_APPLICATION_ID};\n"
        f"PRAGMA user_version = {version};\nCOMMIT;"
    )
    try:
        connection.executescript(script)
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _migrations() -> list[str]:
    """Return the SQL of each migration, in order. The first one is version 1."""
    folder = resources.files(__package__).joinpath("migrations")
    files = {file.name: file for file in folder.iterdir() if file.name.endswith(".sql")}
    return [files[name].read_text("utf-8") for name in sorted(files)]
