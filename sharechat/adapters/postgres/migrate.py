"""Migrations: bring the schema of a database up to date.

This does not use yoyo-migrations, which needs a second, blocking driver and keeps its lock
as a row in a table: a process that is killed leaves the row behind. PostgreSQL releases an
advisory lock when its connection ends.
"""

from importlib import resources
from typing import Any

import psycopg
import trio

from sharechat.adapters.postgres.error_map import TIMED_OUT, map_error
from sharechat.adapters.postgres.trio_connection import TrioConnection
from sharechat.domain.errors import SharechatError, UnavailableError

_TIMEOUT = 60.0
"""Seconds for all migrations together."""

_LOCK_KEY = 0x5348_4152_4543_4841
"""Identifies the advisory lock; no other program may use it in the same database."""

_CREATE_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_versions (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


class SchemaError(SharechatError):
    """The database was set up by a later version of sharechat than this one."""


async def migrate(url: str) -> list[str]:
    """Apply the missing migrations to the database at `url`, each in its own transaction.

    Returns the names of those that it applied.

    Any number of processes may call this at the same time: they take turns, and each
    migration is applied once. Raises SchemaError if the database has migrations that this
    version does not know, and UnavailableError, after 60 seconds at the latest. If the call
    is cancelled or fails, no migration is left half applied. If none is missing, the role only
    needs to be allowed to read `schema_versions`.
    """
    applied = []
    with trio.move_on_after(_TIMEOUT):
        try:
            connection: TrioConnection[Any]
            async with await TrioConnection.connect(url, autocommit=True) as connection:
                while name := await _apply_next(connection):
                    applied.append(name.removesuffix(".sql"))
            return applied
        except psycopg.Error as error:
            raise map_error(error) from error
    raise UnavailableError(TIMED_OUT)


async def _apply_next(connection: TrioConnection[Any]) -> str | None:
    """Apply the first missing migration, and return its name; None if none was missing."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))
        present = await _present_version(connection)
        migrations = _migrations()
        if present > len(migrations):
            raise SchemaError(
                f"The database has schema version {present}, but this version of sharechat "
                f"supports only versions up to {len(migrations)}."
            )
        if present == len(migrations):
            return None
        await connection.execute(_CREATE_VERSIONS)
        name, sql = migrations[present]
        await connection.execute(sql, prepare=False)
        await connection.execute(
            "INSERT INTO schema_versions (version, name) VALUES (%s, %s)", (present + 1, name)
        )
        return name


async def _present_version(connection: TrioConnection[Any]) -> int:
    # CREATE TABLE IF NOT EXISTS would need the right to create tables even if there is one.
    cursor = await connection.execute("SELECT to_regclass('schema_versions') IS NOT NULL")
    ((exists,),) = await cursor.fetchall()
    if not exists:
        return 0
    cursor = await connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions")
    version: int
    ((version,),) = await cursor.fetchall()
    return version


def _migrations() -> list[tuple[str, str]]:
    """Return the name and SQL of each migration, in order. The first one is version 1."""
    folder = resources.files(__package__).joinpath("migrations")
    files = {file.name: file for file in folder.iterdir() if file.name.endswith(".sql")}
    return [(name, files[name].read_text("utf-8")) for name in sorted(files)]
