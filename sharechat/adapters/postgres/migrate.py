"""Bringing a database's tables up to date.

A runner of its own rather than yoyo-migrations: that needs a second, blocking driver and
keeps a lock row in a table, which a process that is killed leaves behind. An advisory lock
goes with its connection.
"""

from importlib import resources
from typing import Any, LiteralString, cast

import psycopg
import trio

from sharechat.adapters.postgres import failures
from sharechat.adapters.postgres.trio_connection import TrioConnection
from sharechat.domain.errors import SharechatError, UnavailableError

_SECONDS = 60.0
_LOCK = 0x5348_4152_4543_4841  # any number, as long as nobody else uses it

_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_versions (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


class SchemaError(SharechatError):
    """The database was set up by a later version of the program than this one."""


async def migrate(url: str) -> None:
    """Apply to the database at `url` the migrations that it lacks, each in a transaction.

    Any number of processes may do this at the same time: they take turns, and each
    migration is applied once. Raises SchemaError if the database is ahead of this program,
    and UnavailableError. Cancelling leaves whole migrations only.
    """
    with trio.move_on_after(_SECONDS):
        try:
            connection: TrioConnection[Any]
            async with await TrioConnection.connect(url, autocommit=True) as connection:
                while await _apply_next(connection):
                    pass
            return
        except psycopg.Error as error:
            raise failures.meaning(error) from error
    raise UnavailableError(failures.SLOW)


async def _apply_next(connection: TrioConnection[Any]) -> bool:
    """Apply the first missing migration; return whether there was one."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await connection.execute(_VERSIONS)
        cursor = await connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions")
        ((present,),) = await cursor.fetchall()
        migrations = _migrations()
        if present > len(migrations):
            raise SchemaError(
                f"The database has schema version {present}, "
                f"this program knows {len(migrations)} at most: it is too old."
            )
        if present == len(migrations):
            return False
        name, sql = migrations[present]
        await connection.execute(cast(LiteralString, sql), prepare=False)
        await connection.execute(
            "INSERT INTO schema_versions (version, name) VALUES (%s, %s)", (present + 1, name)
        )
        return True


def _migrations() -> list[tuple[str, str]]:
    """Return the names and texts of the migrations in order: the first one is version 1."""
    folder = resources.files(__package__).joinpath("migrations")
    files = {file.name: file for file in folder.iterdir() if file.name.endswith(".sql")}
    return [(name, files[name].read_text("utf-8")) for name in sorted(files)]
