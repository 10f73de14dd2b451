"""A pool of connections that are opened when they are needed."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from random import SystemRandom
from typing import Any, LiteralString, TypeVar

import psycopg
import trio
from psycopg.pq import TransactionStatus
from psycopg.types.string import TextLoader

from sharechat.adapters.postgres import statements
from sharechat.adapters.postgres.error_map import TIMED_OUT, map_error
from sharechat.adapters.postgres.health import Health
from sharechat.adapters.postgres.trio_connection import TrioConnection
from sharechat.adapters.postgres.waiting import is_readable
from sharechat.domain.errors import UnavailableError

CALL_TIMEOUT = 3.0
"""Seconds that a call may take, plus CANCEL_TIMEOUT if its query has to be cancelled.

Before that, a call waits as long at most for a connection that no other call is using.
"""

BUSY = "The server is busy."

_MIN_BACKOFF = 0.05
"""Seconds without a new attempt after the first failure to connect, at most."""

_MAX_BACKOFF = 1.0
"""Seconds without a new attempt after any failure to connect, at most."""

_random = SystemRandom()

Row = tuple[Any, ...]
T = TypeVar("T")


class Pool:
    """Runs statements on at most `size` connections to `url`.

    The pool has no task of its own: a call that finds no idle connection opens one. After a
    failure to connect there is a backoff, which doubles with each further failure. Calls that
    would have to connect during the backoff fail at once, for the same reason. `health` is told
    of every call that works or fails.

    If all connections are in use, calls wait for their turn, in order. That is no failure of
    the database, so it starts no backoff and does not shorten the time that a call has.
    """

    def __init__(self, url: str, size: int, health: Health) -> None:
        self._url = url
        self._health = health
        self._limiter = trio.CapacityLimiter(size)
        self._idle: list[TrioConnection[Row]] = []
        self._connect_lock = trio.Lock()
        self._backoff = 0.0
        self._retry_at = -inf
        self._last_failure: psycopg.Error | None = None
        self._closed = False

    async def fetch(
        self,
        statement: LiteralString,
        params: Sequence[object] | Mapping[str, object] = (),
        *,
        timeout: float = CALL_TIMEOUT,
    ) -> list[Row]:
        """Run one statement in its own transaction and return its rows.

        Raises what `run` raises.
        """

        async def execute(connection: TrioConnection[Row]) -> list[Row]:
            cursor = await connection.execute(statement, params)
            return await cursor.fetchall()

        return await self.run(execute, timeout=timeout)

    async def run(
        self, work: Callable[[TrioConnection[Row]], Awaitable[T]], *, timeout: float = CALL_TIMEOUT
    ) -> T:
        """Call `work` with a connection that no other task is using; return its result.

        Raises RejectedError, and UnavailableError: after `timeout` seconds if no connection
        is free by then; otherwise within `timeout` seconds and CANCEL_TIMEOUT from when one
        was. After an UnavailableError or a cancelled call it is unknown whether the work was
        done.
        """
        try:
            # There nearly always is a connection, and the query is a checkpoint.
            self._limiter.acquire_nowait()
        except trio.WouldBlock:
            with trio.move_on_after(timeout) as turn:
                await self._limiter.acquire()
            if turn.cancelled_caught:
                raise UnavailableError(BUSY) from None
        try:
            return await self._run(work, timeout)
        finally:
            self._limiter.release()

    async def _run(self, work: Callable[[TrioConnection[Row]], Awaitable[T]], timeout: float) -> T:
        connection: TrioConnection[Row] | None = None
        with trio.move_on_after(timeout):
            try:
                connection = self._take_idle() or await self._connect()
                with self._lend(connection):
                    result = await work(connection)
            except psycopg.Error as error:
                self._health.record_failure(error)
                raise map_error(error) from error
            self._health.record_success()
            return result
        # If the connection is open, the server obeyed the request to cancel the query: the
        # server works, and only the query took too long.
        if connection is None or connection.closed:
            # The other connections go to the same server and may hang too, so replace them.
            self._close_idle()
            timed_out = psycopg.errors.ConnectionTimeout("no answer in time")
            self._record_failure(timed_out)
            self._health.record_failure(timed_out)
        raise UnavailableError(TIMED_OUT)

    def close(self) -> None:
        """Close the connections. Those in use are closed when their calls end.

        Later calls of other methods raise UnavailableError. May be called twice.
        """
        self._closed = True
        self._close_idle()

    @contextmanager
    def _lend(self, connection: TrioConnection[Row]) -> Iterator[None]:
        """Close the connection after the block, or keep it if it can be used again."""
        try:
            yield
        except (psycopg.DataError, psycopg.IntegrityError):
            raise
        except psycopg.Error:
            # The database may only be busy, but a new connection does no harm. It does help
            # if the error comes from what the old one remembers, such as its prepared
            # statements.
            connection.close_nowait()
            raise
        finally:
            if self._closed or connection.info.transaction_status != TransactionStatus.IDLE:
                connection.close_nowait()
            else:
                self._idle.append(connection)

    def _take_idle(self) -> TrioConnection[Row] | None:
        while self._idle:
            connection = self._idle.pop()
            # The server sends nothing to an idle connection except that it is closing it.
            if not connection.closed and not is_readable(connection.fileno()):
                return connection
            connection.close_nowait()
        return None

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close_nowait()

    async def _connect(self) -> TrioConnection[Row]:
        # Only one task connects at a time. While the database is unreachable, the tasks that
        # wait here then fail for the reason of that one attempt.
        async with self._connect_lock:
            if self._closed:
                raise UnavailableError("The server is stopping.")
            if self._last_failure is not None and trio.current_time() < self._retry_at:
                raise map_error(self._last_failure) from self._last_failure
            try:
                connection = await self._open_connection()
            except psycopg.Error as error:
                self._record_failure(error)
                raise
            self._last_failure, self._backoff = None, 0.0
            return connection

    async def _open_connection(self) -> TrioConnection[Row]:
        connection: TrioConnection[Row] = await TrioConnection.connect(
            self._url,
            autocommit=True,
            prepare_threshold=0,
            client_encoding="utf8",
            fallback_application_name="sharechat",
        )
        try:
            await connection.execute(statements.CONFIGURE_SESSION, prepare=False)
        except BaseException:
            connection.close_nowait()
            raise
        connection.adapters.register_loader("uuid", TextLoader)
        return connection

    def _record_failure(self, error: psycopg.Error) -> None:
        self._backoff = min(max(2 * self._backoff, _MIN_BACKOFF), _MAX_BACKOFF)
        # A random share, so that processes do not reconnect together.
        self._retry_at = trio.current_time() + self._backoff * _random.uniform(0.5, 1.0)
        self._last_failure = error
