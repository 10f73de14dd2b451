"""The one thread that writes: one commit for all changes that wait."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sharechat.adapters.sqlite.connecting import connect_writer
from sharechat.adapters.sqlite.errors import map_error, outlives_its_connection
from sharechat.adapters.sqlite.jobs import Job, Jobs
from sharechat.adapters.sqlite.thread import Thread
from sharechat.domain.errors import UnavailableError

T = TypeVar("T")

_MOST_JOBS = 512
"""Changes that may wait, or be under way, before another one fails as unavailable."""

_MOST_IN_A_GROUP = 64
"""Changes in one commit."""


class Writer:
    """A thread with the only connection that writes.

    It takes all jobs that wait, does each within a savepoint of one transaction, commits, and
    answers them together. A job that is refused changes nothing and does not hold up the others;
    if the database fails, all of them fail.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs = Jobs(_MOST_JOBS)
        self._connection: sqlite3.Connection | None = None
        self._thread: Thread | None = None
        # Whether the last change failed.
        self._unwell = False

    def start(self) -> None:
        self._jobs.open()
        self._thread = Thread("sharechat-sqlite-writer", self._run)

    async def run(self, work: Callable[[sqlite3.Connection], T], timeout: float) -> T:
        """Do the work in a transaction; return its result once the change is on the disk.

        Raises what the work raises, and UnavailableError: after `timeout` seconds, or if too
        many changes wait. It is unknown then whether the change was made, as it is if the call
        is cancelled.
        """
        return await self._jobs.run(work, timeout)

    async def check(self, timeout: float) -> None:
        """Return if the thread does its work; raises UnavailableError.

        After a change that failed something has to be written, since reading works on a full
        disk.
        """
        if self._unwell:
            await self.run(_write_something, timeout)
            self._unwell = False
        else:
            await self.run(self._check_file, timeout)

    def _check_file(self, _: sqlite3.Connection) -> None:
        if not self._path.exists():
            raise UnavailableError("The database has lost its file.")

    async def aclose(self) -> None:
        """Do what waits, close the connection, and wait for the end of the thread."""
        self._jobs.close(1)
        if self._thread is not None:
            await self._thread.wait()

    def _run(self) -> None:
        open_ = True
        while open_:
            job = self._jobs.take()
            taken = [job, *self._jobs.take_waiting(_MOST_IN_A_GROUP - 1)]
            open_ = None not in taken
            group = [job for job in taken if job is not None]
            self._do([job for job in group if not job.abandoned])
            self._jobs.answer(group)
        self._close()

    def _do(self, group: list[Job[Any]]) -> None:
        if not group:
            return
        try:
            connection = self._connection = self._connection or connect_writer(self._path)
            before = connection.total_changes
            connection.execute("BEGIN IMMEDIATE")
            for job in group:
                _do_one(connection, job)
            connection.execute("COMMIT")
            if connection.total_changes > before:
                self._unwell = False
        except Exception as error:  # noqa: BLE001 - whoever waits for the results gets it
            self._undo(error)
            for job in group:
                job.error = map_error(error) if isinstance(error, sqlite3.Error) else error

    def _undo(self, error: Exception) -> None:
        """Undo what a group did, so that the next one may do better."""
        self._unwell = True
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            if not (isinstance(error, sqlite3.Error) and outlives_its_connection(error)):
                self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _write_something(connection: sqlite3.Connection) -> None:
    ((version,),) = connection.execute("PRAGMA user_version")
    connection.execute(f"PRAGMA user_version = {version}")


def _do_one(connection: sqlite3.Connection, job: Job[Any]) -> None:
    """Do one job of a group. Raises sqlite3.Error if the whole group fails."""
    connection.execute("SAVEPOINT job")
    try:
        job.do(connection)
    except sqlite3.Error as error:
        refusal = map_error(error)
        # SQLite itself may have given up the transaction by now.
        if isinstance(refusal, UnavailableError):
            raise
        connection.execute("ROLLBACK TO job")
        job.error = refusal
    except Exception as error:  # noqa: BLE001 - whoever waits for the result gets it
        connection.execute("ROLLBACK TO job")
        job.error = error
    connection.execute("RELEASE job")
