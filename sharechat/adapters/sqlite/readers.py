"""The threads that read, each with a connection of its own."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import trio

from sharechat.adapters.sqlite.connecting import connect_reader
from sharechat.adapters.sqlite.errors import map_error, outlives_its_connection
from sharechat.adapters.sqlite.jobs import Job, Jobs
from sharechat.adapters.sqlite.thread import Thread

T = TypeVar("T")

_THREADS = 3

_MOST_JOBS = 4096
"""Reads that may wait, or be under way, before another one fails as unavailable."""


class Readers:
    """A few threads that read. None of them waits for the writer, nor the writer for them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs = Jobs(_MOST_JOBS)
        self._threads: list[Thread] = []
        # Which connection does which job. A connection is interrupted only while it does the job
        # that is meant.
        self._lock = threading.Lock()
        self._busy: dict[Job[Any], sqlite3.Connection] = {}

    def start(self) -> None:
        self._jobs.open()
        names = [f"sharechat-sqlite-reader-{n}" for n in range(_THREADS)]
        self._threads = [Thread(name, self._run) for name in names]

    async def run(self, work: Callable[[sqlite3.Connection], T], timeout: float) -> T:
        """Return the result of the work, which is interrupted if the call is cancelled.

        Raises what the work raises, and UnavailableError: after `timeout` seconds, or if too
        many reads wait.
        """
        return await self._jobs.run(work, timeout, self._interrupt)

    async def aclose(self) -> None:
        """Wait for the end of the threads."""
        self._jobs.close(len(self._threads))
        async with trio.open_nursery() as nursery:
            for thread in self._threads:
                nursery.start_soon(thread.wait)

    def _interrupt(self, job: Job[Any]) -> None:
        with self._lock:
            if job in self._busy:
                self._busy[job].interrupt()

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while (job := self._jobs.take()) is not None:
            if not job.abandoned:
                connection = self._do(job, connection)
            self._jobs.answer([job])
        if connection is not None:
            connection.close()

    def _do(
        self, job: Job[Any], connection: sqlite3.Connection | None
    ) -> sqlite3.Connection | None:
        """Do a job on the connection or a new one; return the one to use from now on, if any."""
        try:
            connection = connection or connect_reader(self._path)
            with self._lock:
                self._busy[job] = connection
            try:
                job.do(connection)
            finally:
                with self._lock:
                    del self._busy[job]
        except sqlite3.Error as error:
            job.error = map_error(error)
            if connection is not None and not outlives_its_connection(error):
                with suppress(sqlite3.Error):
                    connection.close()
                connection = None
        except Exception as error:  # noqa: BLE001 - whoever waits for the result gets it
            job.error = error
        return connection
