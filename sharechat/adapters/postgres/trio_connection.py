"""A psycopg connection for trio.

psycopg implements the protocol as generators that yield where they would block; its blocking
and asyncio connections run the same ones. `TrioConnection` runs them under trio, so cursors,
transactions, pipelines and COPY are psycopg's own.
"""

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf
from types import TracebackType
from typing import Any, Self, cast

import psycopg
import trio
from psycopg import AsyncPipeline, AsyncTransaction, capabilities, generators, pq
from psycopg.abc import RV, AdaptContext, ConnDict, ConnParam, PQGen
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import (
    conninfo_attempts,
    conninfo_to_dict,
    make_conninfo,
    timeout_from_conninfo,
)
from psycopg.errors import CancellationTimeout, ConnectionTimeout, _WaitTimeout, error_from_result
from psycopg.rows import AsyncRowFactory, Row
from psycopg.waiting import Ready

from sharechat.adapters.postgres.waiting import drive, drive_connecting

CANCEL_TIMEOUT = 0.5
"""Seconds that a cancelled query may take to end before its connection is closed."""

# Resolving a host name cannot be interrupted. A separate limiter keeps resolvers that hang
# from using up trio's own threads.
_resolver_limiter = trio.CapacityLimiter(8)


class _Lock:
    """A trio.Lock that is no checkpoint if nobody has it: whoever takes it waits afterwards."""

    def __init__(self) -> None:
        self._lock = trio.Lock()

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class TrioConnection(psycopg.AsyncConnection[Row]):
    """A connection to PostgreSQL for trio. Several tasks may use it; they take turns.

    Every call can be cancelled. The query is then cancelled on the server too, and the
    connection remains usable; if the query does not end within CANCEL_TIMEOUT seconds, the
    connection is closed. If a transaction or a pipeline is cancelled, it is rolled back or
    the connection is closed.
    """

    def __init__(self, pgconn: pq.abc.PGconn, *args: Any, **kwargs: Any) -> None:
        super().__init__(pgconn, *args, **kwargs)
        # psycopg uses its asyncio lock only as an async context manager.
        self.lock = cast(Any, _Lock())
        self._statement_names: dict[bytes, bytes] = {}
        self._numbers = itertools.count()

    @classmethod
    async def connect(
        cls,
        conninfo: str = "",
        *,
        autocommit: bool = False,
        prepare_threshold: int | None = 5,
        context: AdaptContext | None = None,
        row_factory: AsyncRowFactory[Row] | None = None,
        cursor_factory: type[psycopg.AsyncCursor[Row]] | None = None,
        **kwargs: ConnParam,
    ) -> Self:
        """Connect to the first host that answers, and return the connection.

        The parameters are those of psycopg's `connect`. Each address may take the
        `connect_timeout` of `conninfo`, but no more than an equal share of the time until the
        caller's deadline, so that a host that does not answer leaves time for the others.

        Raises OperationalError with the failures of all hosts and addresses, and
        ProgrammingError if `conninfo` is not valid. A cancelled call leaves nothing open.
        """
        params = conninfo_to_dict(conninfo, **kwargs)
        attempts = await trio.to_thread.run_sync(
            conninfo_attempts, params, abandon_on_cancel=True, limiter=_resolver_limiter
        )
        self = await cls._connect_to_any(attempts, timeout_from_conninfo(params))
        self._autocommit = autocommit
        self.prepare_threshold = prepare_threshold
        if row_factory:
            self.row_factory = row_factory
        if cursor_factory:
            self.cursor_factory = cursor_factory
        if context:
            self._adapters = AdaptersMap(context.adapters)
        return self

    @classmethod
    async def _connect_to_any(cls, attempts: list[ConnDict], timeout: float) -> Self:
        failures: list[psycopg.Error] = []
        for tried, attempt in enumerate(attempts):
            remaining = trio.current_effective_deadline() - trio.current_time()
            share = min(timeout, remaining / (len(attempts) - tried))
            try:
                with trio.fail_after(max(share, 0)):
                    return await drive_connecting(cls._connect_gen(make_conninfo("", **attempt)))
            except trio.TooSlowError:
                failures.append(ConnectionTimeout("the server did not answer in time"))
            except psycopg.Error as error:
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        reasons = [
            f"{attempt.get('host')} {attempt.get('hostaddr')} {attempt.get('port')}: {error}"
            for attempt, error in zip(attempts, failures, strict=True)
        ]
        raise type(failures[-1])("\n".join(["no host accepted a connection:", *reasons]))

    async def fetch_prepared(
        self, statement: bytes, params: Sequence[bytes]
    ) -> list[list[bytes | None]]:
        """Run a statement and return its rows. It is prepared when it is first used.

        The statement's parameters are $1, $2 and so on. Their values and those of the rows
        are in PostgreSQL's text format: without a cursor's conversions, a call takes half as
        much of this process's time. Raises what `execute` raises. A cancelled call leaves the
        connection usable or closed.
        """
        async with self.lock:
            name = self._statement_names.get(statement)
            if name is None:
                # A new one each time: a cancelled call may have prepared the statement or not.
                name = b"sharechat_%d" % next(self._numbers)
                self.pgconn.send_prepare(name, statement)
                self._last_result(await self.wait(generators.execute(self.pgconn)))
                self._statement_names[statement] = name
            self.pgconn.send_query_prepared(name, params)
            result = self._last_result(await self.wait(generators.execute(self.pgconn)))
            columns = range(result.nfields)
            return [[result.get_value(row, c) for c in columns] for row in range(result.ntuples)]

    def _last_result(self, results: Sequence[pq.abc.PGresult]) -> pq.abc.PGresult:
        # An error of the commit, or the end of the connection, follows what the statement returned.
        result = results[-1]
        if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            raise error_from_result(result, encoding=self.info.encoding)
        return result

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Run a generator on this connection and return its result.

        All of psycopg's own waiting goes through this method. Raises what the generator
        raises. If `timeout` seconds pass, raises the error that psycopg expects and leaves the
        generator suspended. A cancelled call leaves the connection usable or closed. psycopg's
        other connections need `interval`; this one does not.
        """
        del interval
        started = False
        try:
            if timeout is None:
                await trio.lowlevel.checkpoint_if_cancelled()
                started = True
                return await drive(gen, self.pgconn.socket)
            with trio.move_on_after(timeout):
                started = True
                return await drive(gen, self.pgconn.socket)
        except psycopg.Error:
            raise
        except BaseException:  # Cancelled, also in a group of exceptions, or KeyboardInterrupt.
            await self._cancel_query(gen, started)
            raise
        raise _WaitTimeout("wait timeout expired")

    async def _cancel_query(self, gen: PQGen[Any], started: bool) -> None:
        """Cancel the running query, if any, and read its result, or close the connection."""
        if self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
            return
        with trio.move_on_after(CANCEL_TIMEOUT, shield=True):
            # The query usually ends with the error that it was cancelled. How it ends does
            # not matter, as long as the connection is no longer busy.
            with suppress(psycopg.Error):
                await self.cancel_safe(timeout=CANCEL_TIMEOUT)
                await drive(gen, self.pgconn.socket, Ready.NONE if started else None)
        if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            self.close_nowait()

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Ask the server to cancel the running query. Returns before the query has ended.

        Raises CancellationTimeout after `timeout` seconds, and OperationalError. A call that
        times out or is cancelled closes the connection: nothing else would end the query.
        """
        if not self._should_cancel():
            return
        with trio.move_on_after(timeout) as scope:
            try:
                if capabilities.has_cancel_safe():
                    await drive_connecting(self._cancel_gen())
                else:
                    await trio.to_thread.run_sync(self.cancel, abandon_on_cancel=True)
            except trio.Cancelled:
                self.close_nowait()
                raise
        if scope.cancelled_caught:
            raise CancellationTimeout("cancellation timeout expired")

    def close_nowait(self) -> None:
        """Close the connection without waiting, even if a query is running.

        Does nothing if the connection is closed already.
        """
        if not self.closed:
            trio.lowlevel.notify_closing(self.pgconn.socket)
            self._closed = True
            self.pgconn.finish()

    async def close(self) -> None:
        """Do what `close_nowait` does. Since this does not wait, it cannot be cancelled."""
        self.close_nowait()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc_val, exc_tb)
        finally:
            self.close_nowait()

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        async with self._close_if_cancelled():
            async with super().transaction(savepoint_name, force_rollback) as transaction:
                yield transaction

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        async with self._close_if_cancelled():
            async with super().pipeline() as pipeline:
                yield pipeline

    @asynccontextmanager
    async def _pipeline_nolock(self) -> AsyncIterator[AsyncPipeline]:
        # `executemany` uses this one, while it holds the lock.
        async with self._close_if_cancelled():
            async with super()._pipeline_nolock() as pipeline:
                yield pipeline

    @asynccontextmanager
    async def _close_if_cancelled(self) -> AsyncIterator[None]:
        """Close the connection if the block ends because it was cancelled.

        Under trio a cancelled scope stays cancelled, so psycopg cannot wait for a ROLLBACK or
        a Sync. Closing the connection has the same effect and does not wait.
        """
        try:
            yield
        except BaseException:
            if trio.current_effective_deadline() == -inf:
                self.close_nowait()
            raise
