"""Jobs on their way from trio to threads that do them, and the answers on their way back."""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import trio

from sharechat.adapters.sqlite.errors import BUSY, CLOSED, TIMED_OUT
from sharechat.domain.errors import UnavailableError

T = TypeVar("T")


class Job(Generic[T]):
    """One piece of work on a connection, and what became of it."""

    __slots__ = ("abandoned", "done", "error", "result", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], T]) -> None:
        self.work = work
        self.done = trio.Event()
        self.abandoned = False
        """Whether nobody waits for it any more, so that it need not be done."""
        self.error: Exception | None = None
        self.result: T

    def do(self, connection: sqlite3.Connection) -> None:
        """Do the work. Raises what the work raises."""
        self.result = self.work(connection)


class Jobs:
    """A bounded queue of jobs. A job that finds it full fails with UnavailableError at once.

    A job counts until a thread has answered it, so a job that is abandoned does, too.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._unanswered = 0
        self._queue: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._token: trio.lowlevel.TrioToken | None = None
        self._closed = False

    def open(self) -> None:
        """Let jobs in. Answers go to the trio run that calls this."""
        self._token = trio.lowlevel.current_trio_token()

    def close(self, threads: int) -> None:
        """Let no more jobs in, and tell the threads, which do those that wait first."""
        if not self._closed:
            self._closed = True
            for _ in range(threads):
                self._queue.put(None)

    async def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        timeout: float,
        abandoned: Callable[[Job[T]], None] = lambda _: None,
    ) -> T:
        """Have a thread do the work; return what the work returns, or raise what it raises.

        Raises UnavailableError after `timeout` seconds. Calls `abandoned(job)` then, and if the
        call is cancelled: in both cases the work may be done all the same.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._token is None or self._closed:
            raise UnavailableError(CLOSED)
        if self._unanswered >= self._most:
            raise UnavailableError(BUSY)
        job = Job(work)
        self._unanswered += 1
        self._queue.put(job)
        try:
            with trio.move_on_after(timeout):
                await job.done.wait()
        finally:
            if not job.done.is_set():
                job.abandoned = True
                abandoned(job)
        if not job.done.is_set():
            raise UnavailableError(TIMED_OUT)
        if job.error is not None:
            raise job.error
        return job.result

    def take(self) -> Job[Any] | None:
        """Return the next job once there is one, or None once there are no more. In a thread."""
        return self._queue.get()

    def take_waiting(self, most: int) -> Iterable[Job[Any] | None]:
        """Yield up to `most` jobs that wait already, or None as `take` does. In a thread."""
        with suppress(Empty):
            for _ in range(most):
                yield self._queue.get_nowait()

    def answer(self, jobs: Iterable[Job[Any]]) -> None:
        """Answer jobs that have been done, have failed, or were abandoned. In a thread."""
        assert self._token is not None
        # Once trio has ended nobody waits any more.
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._settle, list(jobs))

    def _settle(self, jobs: Iterable[Job[Any]]) -> None:
        for job in jobs:
            self._unanswered -= 1
            job.done.set()
