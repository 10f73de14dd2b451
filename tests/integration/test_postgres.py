"""What only a real PostgreSQL can show: cancelling, outages, races between processes."""

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, LiteralString, cast

import psycopg
import pytest
import trio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sharechat.adapters.postgres import PostgresRepository, SchemaError, migrate, statements
from sharechat.adapters.postgres.rows import to_arrays
from sharechat.adapters.postgres.trio_connection import TrioConnection
from sharechat.domain.errors import RejectedError, RoomNotFoundError, UnavailableError
from sharechat.domain.ids import ProcessId, RoomId, new_member_id, new_process_id, new_room_id
from sharechat.domain.messages import Draft, Entry, Identity, RoomInfo
from tests.harness.drafts import chat, joined, left
from tests.harness.postgres import PostgresServer, truncate

KEY = b"hash of the key"
Connection = TrioConnection[Any]
Work = Callable[[Connection], Awaitable[None]]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of our own, whatever DATABASE_URL says: it will be stopped and frozen."""
    with PostgresServer() as server:
        trio.run(migrate, server.url)
        yield server


@pytest.fixture
def url(server: PostgresServer) -> str:
    """The URL of a database with empty tables."""
    truncate(server.url)
    return server.url


@pytest.fixture
async def connection(url: str) -> AsyncIterator[Connection]:
    connection = await connect(url)
    yield connection
    await connection.close()


async def connect(url: str) -> Connection:
    with trio.fail_after(5):
        return await TrioConnection.connect(url, autocommit=True)


@asynccontextmanager
async def open_repository(url: str) -> AsyncIterator[PostgresRepository]:
    repository = PostgresRepository(url)
    try:
        yield repository
    finally:
        await repository.aclose()


@asynccontextmanager
async def new_database(url: str, options: str = "") -> AsyncIterator[str]:
    """The URL of an empty database on the server of `url`."""
    name = f"other_{new_room_id()}"
    async with await connect(url) as connection:
        create = sql.SQL("CREATE DATABASE {} " + options).format(sql.Identifier(name))
        await connection.execute(create)
        try:
            yield make_conninfo(url, dbname=name)
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            await connection.execute(drop.format(sql.Identifier(name)))


async def one(connection: Connection, query: Any, *params: object) -> Any:
    (row,) = await (await connection.execute(query, params)).fetchall()
    return row[0]


async def make_room(repository: PostgresRepository) -> RoomId:
    room_id = new_room_id()
    await repository.create_room(RoomInfo(room_id, "Imperfect Seat"), KEY)
    return room_id


async def enter(repository: PostgresRepository) -> tuple[ProcessId, RoomId, Identity]:
    """Make a process, a room and a member that is in it."""
    process, room = new_process_id(), await make_room(repository)
    member = Identity(new_member_id(), "Blue Fox")
    await repository.open_lease(process)
    (entry,) = await repository.append([joined(room, member)], process)
    assert isinstance(entry, Entry)
    return process, room, member


async def insist(
    repository: PostgresRepository, drafts: list[Draft], process: ProcessId
) -> list[Entry]:
    """Append the drafts again and again until the answer comes."""
    while True:
        try:
            outcomes = await repository.append(drafts, process)
        except UnavailableError:
            await trio.sleep(0.01)
        else:
            entries = [outcome for outcome in outcomes if isinstance(outcome, Entry)]
            assert len(entries) == len(drafts), outcomes
            return entries


class CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when the task that made this is to run for the nth time from now."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._task = trio.lowlevel.current_task()
        self._scope = scope
        self._steps = steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._steps -= 1
            if self._steps == 0:
                self._scope.cancel()


async def cancel_at_every_step(
    work: Callable[[], Awaitable[object]], check: Callable[[], Awaitable[object]]
) -> None:
    """Run `work` and cancel it at its first step, its second, and so on; `check` after each."""
    for steps in range(1, 1000):
        with trio.CancelScope() as scope:
            instrument = CancelAtStep(scope, steps)
            trio.lowlevel.add_instrument(instrument)
            try:
                await work()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        await check()
        if not scope.cancelled_caught:
            return
    raise AssertionError("the work never ends")


async def a_query(connection: Connection) -> None:
    await connection.execute("SELECT pg_sleep(0.002), %s", [random.random()], prepare=True)


async def a_large_query(connection: Connection) -> None:
    await connection.execute("SELECT length(%s)", ["x" * 5_000_000])


async def a_transaction(connection: Connection) -> None:
    async with connection.transaction(), connection.transaction():
        await connection.execute("INSERT INTO work VALUES (1)")
        await connection.execute("DELETE FROM work")


async def a_pipeline(connection: Connection) -> None:
    async with connection.pipeline():
        for n in range(5):
            await connection.execute("SELECT pg_sleep(0.001), %s", [n])


async def an_executemany(connection: Connection) -> None:
    async with connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO work VALUES (%s)", [(n,) for n in range(20)])


async def a_stream(connection: Connection) -> None:
    async with connection.cursor() as cursor:
        stream = cursor.stream("SELECT n FROM generate_series(1, 5) n")
        async with aclosing(cast(AsyncGenerator[Any], stream)) as rows:
            async for _ in rows:
                await trio.lowlevel.checkpoint()


async def a_copy(connection: Connection) -> None:
    async with connection.cursor() as cursor:
        async with cursor.copy("COPY work FROM STDIN") as copy:
            for n in range(5):
                await copy.write_row((n,))


WORK = [a_query, a_large_query, a_transaction, a_pipeline, an_executemany, a_stream, a_copy]


class TestConnection:
    @pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
    async def test_cancelled_anywhere_it_is_usable_or_closed(self, url: str, work: Work) -> None:
        async def prepared() -> Connection:
            connection = await connect(url)
            await connection.execute("CREATE TEMPORARY TABLE work (n int)")
            return connection

        connection, usable = await prepared(), 0

        async def check() -> None:
            nonlocal connection, usable
            if connection.closed:
                connection = await prepared()
                return
            usable += 1
            with trio.fail_after(1):
                assert await one(connection, "SELECT 42") == 42
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

        try:
            with trio.fail_after(20):
                await cancel_at_every_step(lambda: work(connection), check)
        finally:
            await connection.close()
        # Whoever is cancelled inside of a transaction or pipeline cannot wait for its end.
        assert usable >= (2 if work in (a_query, a_large_query, a_copy) else 1)

    async def test_cancelling_ends_the_query_on_the_server(self, connection: Connection) -> None:
        with trio.fail_after(2):
            with trio.move_on_after(0.05) as scope:
                await connection.execute("SELECT pg_sleep(60)")
            assert scope.cancelled_caught
            assert await one(connection, "SELECT 42") == 42

    async def test_tasks_take_turns(self, connection: Connection) -> None:
        results: list[int] = []

        async def ask(n: int) -> None:
            results.append(await one(connection, "SELECT %s::int", n))

        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(ask, n)
        assert sorted(results) == list(range(10))

    async def test_a_transaction_is_rolled_back(self, connection: Connection) -> None:
        await connection.execute("CREATE TEMPORARY TABLE work (n int)")
        with suppress(ZeroDivisionError):
            async with connection.transaction():
                await connection.execute("INSERT INTO work VALUES (1)")
                raise ZeroDivisionError
        assert await one(connection, "SELECT count(*) FROM work") == 0

    async def test_notifications_with_a_timeout(self, connection: Connection) -> None:
        await connection.execute("LISTEN room")
        await connection.execute("NOTIFY room, 'hello'")
        heard = [n.payload async for n in connection.notifies(timeout=0.05, stop_after=1)]
        assert heard == ["hello"]
        assert [n async for n in connection.notifies(timeout=0)] == []
        assert await one(connection, "SELECT 42") == 42

    async def test_closing_wakes_who_waits(self, connection: Connection) -> None:
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(close_soon, connection)
                with pytest.raises(psycopg.OperationalError):
                    await connection.execute("SELECT pg_sleep(60)")

    async def test_a_host_by_name(self, url: str) -> None:
        connection = await connect(make_conninfo(url, host="localhost"))
        assert await one(connection, "SELECT 42") == 42
        await connection.close()

    async def test_a_name_that_does_not_exist(self, url: str) -> None:
        # Where no resolver can be asked that is told by the deadline.
        async with open_repository(make_conninfo(url, host="no-such-host.invalid")) as repository:
            with trio.fail_after(2):
                await is_unavailable(repository.check)

    async def test_several_hosts(self, url: str) -> None:
        """One refuses, one is silent, one answers."""
        (silent,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        silent_port = silent.socket.getsockname()[1]
        right = conninfo_to_dict(url)
        several = make_conninfo(
            url,
            host=f"127.0.0.1,127.0.0.1,{right['host']}",
            port=f"1,{silent_port},{right['port']}",
        )
        with trio.fail_after(1):
            connection = await TrioConnection.connect(several)
        await connection.close()
        await silent.aclose()

    async def test_no_host_at_all(self) -> None:
        with pytest.raises(psycopg.OperationalError) as caught:
            await connect("host=127.0.0.1,127.0.0.1 port=1,2")
        assert "127.0.0.1 1" in str(caught.value)
        assert "127.0.0.1 2" in str(caught.value)

    async def test_cancelling_connect_leaves_nothing_open(self, url: str) -> None:
        async def do_work() -> None:
            await (await TrioConnection.connect(url)).close()

        with trio.fail_after(10):
            await cancel_at_every_step(do_work, trio.lowlevel.checkpoint)


async def close_soon(connection: Connection) -> None:
    await trio.sleep(0.05)
    await connection.close()


class TestMigrations:
    async def test_several_processes_at_once(self, url: str) -> None:
        async with new_database(url) as empty:
            async with trio.open_nursery() as nursery:
                for _ in range(6):
                    nursery.start_soon(migrate, empty)
            await migrate(empty)
            async with await connect(empty) as connection:
                cursor = await connection.execute("SELECT version, name FROM schema_versions")
                applied = sorted(await cursor.fetchall())
            assert [version for version, _ in applied] == list(range(1, len(applied) + 1))
            assert applied[0][1] == "0001_tables.sql"
            async with open_repository(empty) as repository:
                await repository.check()

    async def test_a_database_ahead_of_the_program(self, url: str) -> None:
        async with new_database(url) as empty:
            await migrate(empty)
            async with await connect(empty) as connection:
                await connection.execute("INSERT INTO schema_versions VALUES (999, 'later')")
            with pytest.raises(SchemaError, match="999"):
                await migrate(empty)

    async def test_a_database_that_was_not_set_up(self, url: str) -> None:
        async with new_database(url) as empty, open_repository(empty) as repository:
            with pytest.raises(UnavailableError, match="set up"):
                await repository.check()
            await migrate(empty)
            await repository.check()

    async def test_no_database(self) -> None:
        with trio.fail_after(2), pytest.raises(UnavailableError):
            await migrate("postgresql://127.0.0.1:1/none")


class TestRaces:
    async def test_writers_of_several_processes(self, url: str) -> None:
        """Rooms in every order, and rooms that vanish: no deadlock, no gap, no error."""
        async with open_repository(url) as first:
            process, *_ = await enter(first)
            rooms = [await make_room(first) for _ in range(8)]
            doomed = [await make_room(first) for _ in range(8)]

            async def write(seed: int) -> None:
                choice = random.Random(seed)
                member = Identity(new_member_id(), "Blue Fox")
                async with open_repository(url) as repository:
                    await repository.append([joined(room, member) for room in rooms], process)
                    for _ in range(15):
                        mine = choice.sample(rooms, 6) + choice.sample(doomed, 2)
                        outcomes = await repository.append(
                            [
                                joined(r, member) if r in doomed else chat(r, member, "x")
                                for r in mine
                            ],
                            process,
                        )
                        assert all(isinstance(outcome, Entry) for outcome in outcomes[:6])

            async def destroy() -> None:
                for room in doomed:
                    await trio.sleep(0.01)
                    await first.delete_room(room, KEY)

            with trio.fail_after(15):
                async with trio.open_nursery() as nursery:
                    for seed in range(4):
                        nursery.start_soon(write, seed)
                    nursery.start_soon(destroy)
            heads = await first.get_heads(rooms + doomed)
            assert sum(heads.values()) == 4 * (8 + 15 * 6)
            assert not set(doomed) & set(heads)
            for room in rooms:
                seqs = [entry.seq for entry in await first.read(room, after=0, limit=1000)]
                assert seqs == list(range(1, heads[room] + 1))
        async with await connect(url) as connection:
            assert await one(connection, "SELECT count(*) FROM messages") == 1 + sum(heads.values())

    async def test_joining_a_room_that_is_being_removed(self, url: str) -> None:
        """Either the join is stored and the room stays, or both are not."""
        results = set()
        async with open_repository(url) as repository, open_repository(url) as other:
            process, *_ = await enter(repository)
            for n in range(60):
                room, member = await make_room(repository), Identity(new_member_id(), "Blue Fox")
                removed: list[RoomId] = []

                async def remove(
                    delay: float = n % 20 / 10_000, removed: list[RoomId] = removed
                ) -> None:
                    await trio.sleep(delay)
                    removed += await other.remove_stale_rooms(0)

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(remove)
                    (outcome,) = await repository.append([joined(room, member)], process)
                if isinstance(outcome, Entry):
                    assert await repository.get_members(room) == [member]
                else:
                    assert isinstance(outcome, RoomNotFoundError)
                    assert removed == [room]
                results.add(type(outcome))
        assert Entry in results

    async def test_cancelled_appends_are_made_once_when_repeated(self, url: str) -> None:
        async with open_repository(url) as repository:
            process, room, member = await enter(repository)
            drafts: list[Draft] = []

            async def do_work() -> None:
                drafts.append(chat(room, member, str(len(drafts))))
                await repository.append(drafts[-1:], process)

            await cancel_at_every_step(do_work, lambda: insist(repository, drafts[-1:], process))
            entries = await repository.read(room, after=1, limit=1000)
            assert [entry.message.id for entry in entries] == [draft.id for draft in drafts]


class TestOutages:
    async def test_a_lost_answer(self, url: str) -> None:
        """The commit was made, and its answer cut off: trying again returns what was stored."""
        async with open_repository(url) as direct, open_proxy(url) as proxy:
            process, room, member = await enter(direct)
            async with open_repository(proxy.url) as repository:
                await insist(repository, [chat(room, member, "one")], process)
                draft = chat(room, member, "two")
                proxy.cut_next_answer = True
                with pytest.raises(UnavailableError):
                    await repository.append([draft], process)
                entries = await direct.read(room, after=2, limit=10)
                assert len(entries) == 1
                assert await insist(repository, [draft], process) == entries

    async def test_backends_that_die_at_any_moment(self, url: str) -> None:
        async with open_repository(url) as repository, await connect(url) as killer:
            process, room, member = await enter(repository)
            drafts = [[chat(room, member, f"{n}.{m}") for m in range(5)] for n in range(150)]

            async def kill() -> None:
                while True:
                    await trio.sleep(random.random() / 20)
                    await killer.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'sharechat'"
                    )

            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(kill)
                    for batch in drafts:
                        await insist(repository, batch, process)
                    nursery.cancel_scope.cancel()
            await trio.sleep(0.1)
            entries = await repository.read(room, after=1, limit=1000)
            assert [e.message.id for e in entries] == [d.id for batch in drafts for d in batch]

    async def test_connections_that_died_while_idle_are_replaced(self, url: str) -> None:
        async with open_repository(url) as repository, await connect(url) as killer:
            process, room, member = await enter(repository)
            await killer.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE application_name = 'sharechat'"
            )
            await repository.append([left(room, member)], process)
            await repository.get_members(room)

    async def test_a_server_that_is_stopped_and_comes_back(self, server: PostgresServer) -> None:
        async with open_repository(server.url) as repository:
            process, room, member = await enter(repository)
            await trio.to_thread.run_sync(server.stop)
            draft = chat(room, member, "hello")
            for _ in range(20):
                with trio.fail_after(0.5), pytest.raises(UnavailableError):
                    await repository.append([draft], process)
                with trio.fail_after(0.5), pytest.raises(UnavailableError):
                    await repository.check()
            await trio.to_thread.run_sync(server.start)
            with trio.fail_after(3):
                (entry,) = await insist(repository, [draft], process)
            assert entry.seq == 2
            assert await repository.get_members(room) == [member]

    async def test_a_frozen_server(self, server: PostgresServer) -> None:
        async with open_repository(server.url) as repository:
            process, room, member = await enter(repository)
            draft = chat(room, member, "hello")
            calls: list[Callable[[], Awaitable[object]]] = [
                lambda: repository.append([draft], process),
                lambda: repository.append([draft], process),
                lambda: repository.get_room(room),
                lambda: repository.get_members(room),
                lambda: repository.read(room, after=0, limit=10),
                lambda: repository.remove_stale_rooms(0),
                lambda: repository.renew_lease(process),
            ]
            server.freeze()
            try:
                with trio.fail_after(2), pytest.raises(UnavailableError):
                    await repository.check()
                with trio.fail_after(4):
                    async with trio.open_nursery() as nursery:
                        for call in calls:
                            nursery.start_soon(is_unavailable, call)
            finally:
                server.thaw()
            with trio.fail_after(3):
                await insist(repository, [draft], process)
            assert (await repository.get_room(room)).head == 2

    async def test_a_server_that_never_answers(self) -> None:
        (silent,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = silent.socket.getsockname()[1]
        async with silent, open_repository(f"postgresql://127.0.0.1:{port}/none") as repository:
            with trio.fail_after(2):
                await is_unavailable(repository.check)
            # The reason is known for a moment, so nobody has to wait for it again.
            with trio.fail_after(0.02):
                await is_unavailable(repository.check)

    async def test_a_database_that_takes_no_changes(self, url: str) -> None:
        read_only = make_conninfo(url, options="-c default_transaction_read_only=on")
        async with open_repository(read_only) as repository:
            with pytest.raises(UnavailableError, match="read-only"):
                await repository.check()
            with pytest.raises(UnavailableError, match="read-only"):
                await make_room(repository)

    async def test_after_closing(self, url: str) -> None:
        repository = PostgresRepository(url)
        await repository.check()
        await repository.aclose()
        await repository.aclose()
        with pytest.raises(UnavailableError):
            await repository.check()


async def is_unavailable(call: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(UnavailableError):
        await call()


class TestStorage:
    async def test_a_large_room_is_as_cheap_as_a_small_one(self, url: str) -> None:
        """Also with plans that were made while the tables were empty."""
        async with open_repository(url) as repository, await connect(url) as connection:
            # What the planner knows from here on, for a while, is that there is nothing.
            await connection.execute("ANALYZE")
            process, room, member = await enter(repository)
            await connection.execute(statements.CONFIGURE_SESSION, prepare=False)
            await connection.execute("SET plan_cache_mode = force_generic_plan")

            async def use() -> None:
                drafts = [chat(room, member, str(n)) for n in range(10)]
                drafts.append(joined(room, Identity(new_member_id(), "Red Owl")))
                drafts.append(left(room, drafts[-1].member))
                page = {"id": room, "after": 5_000, "limit": 100}
                calls: list[tuple[LiteralString, Any]] = [
                    (statements.READ, page),
                    (statements.FIND, (drafts[0].id, room)),
                    (statements.GET_ROOM, (room,)),
                    (statements.GET_HEADS, ([room],)),
                ]
                for _ in range(2):
                    columns = [process.encode(), *to_arrays(drafts)]
                    await connection.fetch_prepared(statements.APPEND, columns)
                for statement, params in calls:
                    await connection.execute(statement, params, prepare=True)

            await use()
            await connection.execute(
                "INSERT INTO messages SELECT %s, n, gen_random_uuid(), gen_random_uuid(), '',"
                " 'chat', '', now() FROM generate_series(1000, 20000) n",
                [room],
            )
            await connection.execute(
                "INSERT INTO members SELECT %s, gen_random_uuid(), '', %s, n"
                " FROM generate_series(1000, 10000) n",
                [room, process],
            )
            await connection.execute("UPDATE rooms SET head = 20000")
            for step in ("SELECT", "ANALYZE"):
                await connection.execute(step)
                async with connection.transaction():
                    await use()
                    rows_read = await one(
                        connection,
                        "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables"
                        " WHERE relname IN ('messages', 'members')",
                    )
                assert 100 <= rows_read < 400

    async def test_messages_of_a_removed_room_do_not_stay(self, url: str) -> None:
        async with open_repository(url) as repository, await connect(url) as connection:
            process, room, member = await enter(repository)
            drafts = [chat(room, member, "x") for _ in range(6000)]
            await repository.append(drafts, process)
            await repository.delete_room(room, KEY)
            for table in ("messages", "members", "rooms", "removed_rooms"):
                count = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
                assert await one(connection, count) == 0

    async def test_dead_processes_are_forgotten_after_a_day(self, url: str) -> None:
        async with open_repository(url) as repository, await connect(url) as connection:
            old, lately, orphaned = [new_process_id() for _ in range(3)]
            _, room, _ = await enter(repository)
            for dead in (old, lately, orphaned):
                await repository.open_lease(dead)
            await repository.append([joined(room, Identity(new_member_id(), "A"))], orphaned)
            for dead in (old, lately, orphaned):
                await repository.end_lease(dead)
            await connection.execute(
                "UPDATE processes SET died_at = died_at - interval '25 hours' WHERE id = ANY (%s)",
                [[old, orphaned]],
            )
            await repository.end_lease(new_process_id())
            left_over = await connection.execute("SELECT id::text FROM processes WHERE dead")
            ids = {id_ for (id_,) in await left_over.fetchall()}
            assert {lately, orphaned} < ids
            assert old not in ids

    @pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "nul \0"])
    async def test_text_that_is_no_text(self, url: str, text: str) -> None:
        async with open_repository(url) as repository:
            process, room, member = await enter(repository)
            drafts = [chat(room, member, text), chat(room, member, "fine")]
            refused, stored = await repository.append(drafts, process)
            assert isinstance(refused, RejectedError)
            assert isinstance(stored, Entry)
            assert stored.seq == 2

    async def test_text_that_the_database_has_no_characters_for(self, url: str) -> None:
        latin = "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'"
        async with new_database(url, latin) as narrow, open_repository(narrow) as repository:
            await migrate(narrow)
            process, room, member = await enter(repository)
            drafts = [chat(room, member, text) for text in ("ä", "😀", "ö")]
            outcomes = await repository.append(drafts, process)
            assert [type(outcome) for outcome in outcomes] == [Entry, RejectedError, Entry]
            entries = await repository.read(room, after=1, limit=10)
            assert [entry.message.text for entry in entries] == ["ä", "ö"]


class Proxy:
    """Carries bytes to a server and back, and can lose an answer together with its connection."""

    def __init__(self, url: str) -> None:
        parts = conninfo_to_dict(url)
        self._host, self._port = str(parts["host"]), int(str(parts.get("port", 5432)))
        self._target = url
        self.url = ""
        self.cut_next_answer = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        self.url = make_conninfo(self._target, host="127.0.0.1", port=port, gssencmode="disable")
        async with listener:
            task_status.started()
            await trio.serve_listeners(self._serve, [listener])

    async def _serve(self, client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream(self._host, self._port)
        async with client, server, trio.open_nursery() as nursery:

            async def back() -> None:
                async for data in server:
                    if self.cut_next_answer:
                        self.cut_next_answer = False
                        break
                    await client.send_all(data)
                nursery.cancel_scope.cancel()

            async def forth() -> None:
                async for data in client:
                    await server.send_all(data)
                nursery.cancel_scope.cancel()

            nursery.start_soon(back)
            nursery.start_soon(forth)


@asynccontextmanager
async def open_proxy(url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(url)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        yield proxy
        nursery.cancel_scope.cancel()


def test_few_connections_make_no_repository() -> None:
    with pytest.raises(ValueError, match="two"):
        PostgresRepository("postgresql://", connections=1)
