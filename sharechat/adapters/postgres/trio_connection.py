"""psycopg's connection, on trio.

psycopg has asyncio and blocking connections over the same generators, which do the
protocol and yield where they would block. `TrioConnection` drives them by trio, so that
cursors, transactions, pipelines and COPY are psycopg's own.
"""

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

CANCEL_SECONDS = 0.5
"""How long an interrupted query may take to end before its connection is closed."""

# A resolver that hangs keeps its thread for as long as it likes: a few, and not trio's own.
_resolving = trio.CapacityLimiter(8)


class TrioConnection(psycopg.AsyncConnection[Row]):
    """A connection to PostgreSQL for trio. Several tasks may use it; they take turns.

    Whatever runs on it can be cancelled: the query is cancelled on the server, and the
    connection is usable again, or closed if that did not go well within CANCEL_SECONDS. A
    transaction or pipeline that is left because of a cancellation is rolled back, or the
    connection is closed.
    """

    def __init__(self, pgconn: pq.abc.PGconn, *args: Any, **kwargs: Any) -> None:
        super().__init__(pgconn, *args, **kwargs)
        # trio's lock has all that psycopg uses of asyncio's: it is an async context manager.
        self.lock = cast(Any, trio.Lock())
        self._names: dict[bytes, bytes] = {}

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

        Takes what psycopg's `connect` takes. Raises OperationalError with the failures of
        all hosts and addresses, ProgrammingError if `conninfo` is none. Besides its
        `connect_timeout`, no address gets more than its share of what remains until the
        caller's deadline, so a host that is silent leaves time for the next. Cancelling
        leaves nothing open.
        """
        params = conninfo_to_dict(conninfo, **kwargs)
        attempts = await trio.to_thread.run_sync(
            conninfo_attempts, params, abandon_on_cancel=True, limiter=_resolving
        )
        self = await cls._connect_any(attempts, timeout_from_conninfo(params))
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
    async def _connect_any(cls, attempts: list[ConnDict], timeout: float) -> Self:
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
        raise type(failures[-1])("\n".join(["no host could be connected to:", *reasons]))

    async def fetch_prepared(
        self, statement: bytes, params: Sequence[bytes]
    ) -> list[list[bytes | None]]:
        """Run a statement, prepared on its first use here; return its rows.

        Parameters ($1, $2 ...) and values are in PostgreSQL's text form: without a cursor's
        conversions it costs half as much of this process's time. Raises what `execute`
        raises. Cancelling leaves the connection usable or closed.
        """
        async with self.lock:
            name = self._names.get(statement)
            if name is None:
                name = b"sharechat_%d" % len(self._names)
                self.pgconn.send_prepare(name, statement)
                self._finish(await self.wait(generators.execute(self.pgconn)))
                self._names[statement] = name
            self.pgconn.send_query_prepared(name, params)
            result = self._finish(await self.wait(generators.execute(self.pgconn)))
            columns = range(result.nfields)
            return [[result.get_value(row, c) for c in columns] for row in range(result.ntuples)]

    def _finish(self, results: Sequence[pq.abc.PGresult]) -> pq.abc.PGresult:
        (result,) = results
        if result.status not in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            raise error_from_result(result, encoding=self.info.encoding)
        return result

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Run one of psycopg's generators on this connection; psycopg calls nothing else.

        Raises what it raises, and psycopg's own error if `timeout` seconds pass, which
        leaves the generator as it is. Cancelled in the middle of a query, it leaves the
        connection usable or closed. `interval` is for asyncio's sake and not needed here.
        """
        del interval
        started = False
        try:
            with trio.move_on_after(inf if timeout is None else timeout):
                if timeout is None:
                    await trio.lowlevel.checkpoint_if_cancelled()
                started = True
                return await drive(gen, self.pgconn.socket)
        except psycopg.Error:
            raise
        except BaseException:  # cancelled, perhaps as a group; or interrupted by Ctrl-C
            await self._interrupt(gen, started)
            raise
        raise _WaitTimeout("wait timeout expired")

    async def _interrupt(self, gen: PQGen[Any], started: bool) -> None:
        """End the running query, if any, and take its answer, or close the connection."""
        if self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
            return
        with trio.move_on_after(CANCEL_SECONDS, shield=True):
            # The query's own failure, most likely that it was cancelled, is as good an end
            # as any: what counts is whether the connection is still busy.
            with suppress(psycopg.Error):
                await self.cancel_safe(timeout=CANCEL_SECONDS)
                await drive(gen, self.pgconn.socket, Ready.NONE if started else None)
        if self.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            self.abandon()

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Ask the server to cancel what runs. Raises CancellationTimeout, OperationalError.

        Cancelled itself, it closes the connection: nobody else will end what runs on it.
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
                self.abandon()
                raise
        if scope.cancelled_caught:
            raise CancellationTimeout("cancellation timeout expired")

    def abandon(self) -> None:
        """Close the connection at once, whatever runs on it; harmless if it is closed."""
        if not self.closed:
            trio.lowlevel.notify_closing(self.pgconn.socket)
            self._closed = True
            self.pgconn.finish()

    async def close(self) -> None:
        """Close the connection, whatever runs on it. Does not wait, so it always closes."""
        self.abandon()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc_val, exc_tb)
        finally:
            self.abandon()

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        async with self._closed_if_cancelled():
            async with super().transaction(savepoint_name, force_rollback) as transaction:
                yield transaction

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        async with self._closed_if_cancelled():
            async with super().pipeline() as pipeline:
                yield pipeline

    @asynccontextmanager
    async def _pipeline_nolock(self) -> AsyncIterator[AsyncPipeline]:
        # What `executemany` uses, holding the lock.
        async with self._closed_if_cancelled():
            async with super()._pipeline_nolock() as pipeline:
                yield pipeline

    @asynccontextmanager
    async def _closed_if_cancelled(self) -> AsyncIterator[None]:
        """Close the connection if a block ends cancelled.

        Everything that would tidy up, a ROLLBACK or a Sync, has to wait, and under trio
        whoever is cancelled stays so. Closing does it without waiting.
        """
        try:
            yield
        except BaseException:
            if trio.current_effective_deadline() == -inf:
                self.abandon()
            raise
