"""A few connections, each lent to one task at a time, made when they are needed."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from math import inf
from random import SystemRandom
from typing import Any, LiteralString, TypeVar

import psycopg
import trio
from psycopg.pq import TransactionStatus
from psycopg.types.string import TextLoader

from sharechat.adapters.postgres import failures, statements
from sharechat.adapters.postgres.trio_connection import TrioConnection
from sharechat.adapters.postgres.waiting import readable
from sharechat.domain.errors import UnavailableError

CALL_SECONDS = 3.0
"""How long a call may take; CANCEL_SECONDS more if its query has to be interrupted."""

_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
_random = SystemRandom()

Row = tuple[Any, ...]
T = TypeVar("T")


class Pool:
    """Runs statements on at most `size` connections to `url`.

    There is no task behind it: whoever needs a connection makes it. After a failure to
    connect, nobody tries for a while that doubles with each further failure, and calls fail
    at once with the reason of the last.
    """

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._free = trio.CapacityLimiter(size)
        self._idle: list[TrioConnection[Row]] = []
        self._connecting = trio.Lock()
        self._pause = 0.0
        self._not_before = -inf
        self._reason: psycopg.Error | None = None
        self._closed = False

    async def fetch(
        self,
        statement: LiteralString,
        params: Sequence[object] | Mapping[str, object] = (),
        *,
        seconds: float = CALL_SECONDS,
    ) -> list[Row]:
        """Run one statement, by itself a transaction, and return its rows; see `run`."""

        async def execute(connection: TrioConnection[Row]) -> list[Row]:
            cursor = await connection.execute(statement, params)
            return await cursor.fetchall()

        return await self.run(execute, seconds=seconds)

    async def run(
        self, work: Callable[[TrioConnection[Row]], Awaitable[T]], *, seconds: float = CALL_SECONDS
    ) -> T:
        """Return what `work` does with one of the connections.

        Raises UnavailableError, in little more than `seconds` at the latest, and
        RejectedError. Then, and if it is cancelled, it is not known whether the work was done.
        """
        with trio.move_on_after(seconds):
            try:
                async with self._lend() as connection:
                    return await work(connection)
            except psycopg.Error as error:
                raise failures.meaning(error) from error
        # The other connections lead to the same place: better new ones than as slow again.
        self._drop_idle()
        self._failed(psycopg.errors.ConnectionTimeout("no answer in time"))
        raise UnavailableError(failures.SLOW)

    def close(self) -> None:
        """Close the connections; those in use when they come back. May be called twice."""
        self._closed = True
        self._drop_idle()

    @asynccontextmanager
    async def _lend(self) -> AsyncIterator[TrioConnection[Row]]:
        async with self._free:
            connection = self._take_idle() or await self._connect()
            try:
                yield connection
            except (psycopg.DataError, psycopg.IntegrityError):
                raise
            except psycopg.Error:
                # It may be no more than a busy database; but a new connection does no harm
                # then, and helps with all that is remembered on the old one.
                connection.abandon()
                raise
            finally:
                if self._closed or connection.info.transaction_status != TransactionStatus.IDLE:
                    connection.abandon()
                else:
                    self._idle.append(connection)

    def _take_idle(self) -> TrioConnection[Row] | None:
        while self._idle:
            connection = self._idle.pop()
            # Nobody has asked it anything: what it says can only be goodbye.
            if not connection.closed and not readable(connection.fileno()):
                return connection
            connection.abandon()
        return None

    def _drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().abandon()

    async def _connect(self) -> TrioConnection[Row]:
        # One at a time: while the database is away, who waits learns from the attempt of
        # the one before.
        async with self._connecting:
            if self._closed:
                raise UnavailableError("The server is stopping.")
            if self._reason is not None and trio.current_time() < self._not_before:
                raise failures.meaning(self._reason) from self._reason
            try:
                connection = await self._open()
            except psycopg.Error as error:
                self._failed(error)
                raise
            self._reason, self._pause = None, 0.0
            return connection

    async def _open(self) -> TrioConnection[Row]:
        connection: TrioConnection[Row] = await TrioConnection.connect(
            self._url,
            autocommit=True,
            prepare_threshold=0,
            client_encoding="utf8",
            fallback_application_name="sharechat",
        )
        try:
            await connection.execute(statements.SESSION, prepare=False)
        except BaseException:
            connection.abandon()
            raise
        connection.adapters.register_loader("uuid", TextLoader)
        return connection

    def _failed(self, reason: psycopg.Error) -> None:
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        # Several processes that lost the database together should not come back together.
        self._not_before = trio.current_time() + self._pause * _random.uniform(0.5, 1.0)
        self._reason = reason
