"""Many processes are one server, whatever is taken from under them for a while."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionRejected

from tests.harness.cluster import Cluster, Listener, cluster
from tests.harness.deadline import DEADLINE
from tests.harness.http import Json, fetch, history, make_room, texts
from tests.harness.process import BIN, SharechatProcess, environment
from tests.harness.talker import join


@pytest.fixture(scope="module")
def servers() -> Iterator[Cluster]:
    with cluster() as servers:
        yield servers


@pytest.fixture(scope="module")
def pair(servers: Cluster) -> tuple[SharechatProcess, SharechatProcess]:
    return servers.serve("--message-rate", "0"), servers.serve("--message-rate", "0")


Pair = tuple[SharechatProcess, SharechatProcess]


async def listen(nursery: trio.Nursery, url: str) -> Listener:
    listener = Listener(await join(nursery, url))
    nursery.start_soon(listener.run)
    await listener.until("joined", 1)
    return listener


def assert_run_of(heard: list[Json], log: list[Json]) -> None:
    """What a member heard is the log from its own `joined` on, without a hole or a repeat."""
    start = log.index(heard[0])
    assert heard == log[start : start + len(heard)]


async def test_processes_and_workers_share_one_room(servers: Cluster, pair: Pair) -> None:
    workers = servers.serve("--workers", "2")
    room = make_room(pair[0].url)
    async with trio.open_nursery() as nursery:
        urls = [server.ws_url(room) for server in (*pair, workers, workers, workers)]
        listeners = [await listen(nursery, url) for url in urls]
        async with trio.open_nursery() as talking:
            for index, listener in enumerate(listeners):
                talking.start_soon(_talk, listener, index, 10)
        for listener in listeners:
            await listener.until("chat", 50)
        log = history(workers.url, room)
        for listener in listeners:
            assert_run_of(listener.heard, log)
        members = fetch(f"{pair[1].url}/api/room/{room}").json["members"]
        assert [m["id"] for m in members] == [m["memberId"] for m in log if m["type"] == "joined"]
        nursery.cancel_scope.cancel()
    assert workers.stop() == 0


async def _talk(listener: Listener, index: int, count: int) -> None:
    for number in range(count):
        await listener.talker.say(f"{index}:{number}")


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_a_talk_goes_on_while_redis_is_away(servers: Cluster, pair: Pair, how: str) -> None:
    """60 messages, said over about two seconds of real time, with Redis away in the middle."""
    take, give = {
        "kill": (servers.redis.kill, servers.redis.start),
        "freeze": (servers.redis.freeze, servers.redis.thaw),
    }[how]
    room = make_room(pair[0].url)
    async with trio.open_nursery() as nursery:
        listeners = [await listen(nursery, server.ws_url(room)) for server in pair]
        async with trio.open_nursery() as talking:
            talking.start_soon(_away_for_a_second, take, give)
            for number in range(30):
                for listener in listeners:
                    await listener.talker.say(f"{number}")
                await trio.sleep(0.06)
        for listener in listeners:
            await listener.until("chat", 60)
        log = history(pair[1].url, room)
        assert len(texts(log)) == 60
        for listener in listeners:
            assert_run_of(listener.heard, log)
        nursery.cancel_scope.cancel()


async def _away_for_a_second(take: Callable[[], None], give: Callable[[], None]) -> None:
    await trio.sleep(0.5)
    take()
    try:
        await trio.sleep(1)
    finally:
        give()


async def test_coming_back_on_another_process(pair: Pair) -> None:
    room = make_room(pair[0].url)
    async with trio.open_nursery() as nursery:
        first = await listen(nursery, pair[0].ws_url(room))
        await _talk(first, 0, 3)
        await first.until("chat", 3)
        last = first.heard[1]
        await first.talker.drop()
        again = await listen(nursery, f"{pair[1].ws_url(room)}?after={last['id']}")
        await again.talker.say("back")
        await again.until("chat", 3)
        log = history(pair[0].url, room)
        assert again.heard == log[log.index(last) + 1 :][: len(again.heard)]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("cursor", ["nonsense", "00000000-0000-7000-8000-000000000000"])
async def test_coming_back_after_nothing_known(pair: Pair, cursor: str) -> None:
    room = make_room(pair[0].url)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ConnectionRejected) as refused:
            await join(nursery, f"{pair[0].ws_url(room)}?after={cursor}")
        assert refused.value.status_code == 400
        nursery.cancel_scope.cancel()


async def test_deleting_reaches_every_process(pair: Pair) -> None:
    made = fetch(f"{pair[0].url}/api/room", "POST")
    room = made.json["roomId"]
    async with trio.open_nursery() as nursery:
        talkers = [await join(nursery, server.ws_url(room)) for server in pair]
        key = {"Authorization": f"Bearer {made.headers['Sharechat-Room-Key']}"}
        assert fetch(f"{pair[1].url}/api/room/{room}", "DELETE", key).status == 204
        assert [await talker.close_code() for talker in talkers] == [4410, 4410]
        nursery.cancel_scope.cancel()


def children(pid: int) -> list[int]:
    """Return the child processes, whichever of its threads started them."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


async def test_the_dead_leave_once(servers: Cluster, pair: Pair) -> None:
    """Takes as long as a lease: only when it has run out is a process known to be dead.

    Two workers are killed and replaced, one process is killed, and one is frozen past its
    lease; on all the others their members are seen to leave, once. The frozen one, let go,
    closes its members and serves again.
    """
    killed, frozen, workers = (servers.serve(), servers.serve(), servers.serve("--workers", "2"))
    room = make_room(pair[0].url)
    async with trio.open_nursery() as nursery:
        watchers = [await listen(nursery, server.ws_url(room)) for server in pair]
        victims = [
            await join(nursery, server.ws_url(room))
            for server in (killed, frozen, workers, workers, workers, workers)
        ]
        for watcher in watchers:
            await watcher.until("joined", 7 if watcher is watchers[1] else 8)
        before = children(workers.pid)
        os.kill(frozen.pid, signal.SIGSTOP)
        for pid in (killed.pid, *before):
            os.kill(pid, signal.SIGKILL)
        since = trio.current_time()
        for watcher in watchers:
            await watcher.until("left", 6, within=20)
        assert trio.current_time() - since < 15
        os.kill(frozen.pid, signal.SIGCONT)
        assert await victims[1].close_code() == 1012
        again = await listen(nursery, frozen.ws_url(room))
        await _talk(again, 0, 1)
        for watcher in watchers:
            await watcher.until("chat", 1)
        log = history(pair[1].url, room)
        left = [message["memberId"] for message in log if message["type"] == "left"]
        assert len(left) == len(set(left)) == 6
        for watcher in watchers:
            assert_run_of(watcher.heard, log)
        replaced = children(workers.pid)
        assert len(replaced) == 2
        assert not set(before) & set(replaced)
        nursery.cancel_scope.cancel()
    assert workers.stop() == 0
    assert frozen.stop() == 0


async def test_a_database_outage_makes_nobody_leave(servers: Cluster, pair: Pair) -> None:
    """Takes longer than a lease, which must not run out meanwhile."""
    room = make_room(pair[0].url)
    async with trio.open_nursery() as nursery:
        listeners = [await listen(nursery, server.ws_url(room)) for server in pair]
        await listeners[0].until("joined", 2)
        servers.postgres.stop()
        outage = trio.current_time()
        await _talk(listeners[0], 0, 1)
        await listeners[0].until("failed", 1, within=6)
        assert fetch(f"{pair[0].url}/api/healthz").status == 503
        refused = fetch(f"{pair[1].url}/api/room/{room}")
        assert refused.status == 503
        assert refused.headers["Retry-After"]
        with pytest.raises(ConnectionRejected) as rejected:
            await join(nursery, pair[1].ws_url(room))
        assert rejected.value.status_code == 503
        await trio.sleep_until(outage + 13)
        servers.postgres.start()
        with trio.fail_after(10):
            for server in pair:
                while fetch(f"{server.url}/api/healthz").status != 200:  # noqa: ASYNC110
                    await trio.sleep(0.1)
        for listener in listeners:
            await _talk(listener, 1, 3)
        for listener in listeners:
            await listener.until("chat", 6)
            assert not listener.ids("left")
            assert_run_of(
                [m for m in listener.heard if m["type"] != "failed"], history(pair[1].url, room)
            )
        nursery.cancel_scope.cancel()


async def test_stopping_ends_in_time_without_a_database(servers: Cluster) -> None:
    """Real time, ten seconds at most: that is what is promised."""
    server = servers.serve()
    room = make_room(server.url)
    async with trio.open_nursery() as nursery:
        talker = await join(nursery, server.ws_url(room))
        servers.postgres.freeze()
        try:
            server.signal(signal.SIGTERM)
            assert await talker.close_code() == 1012
            assert server.wait(within=10.5) == 0
        finally:
            servers.postgres.thaw()
        nursery.cancel_scope.cancel()


def test_migrate_may_be_done_apart(servers: Cluster) -> None:
    for _ in range(2):
        command = [str(BIN / "sharechat"), "migrate", *servers.flags]
        done = subprocess.run(command, env=environment(), capture_output=True, timeout=DEADLINE)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--database-url", "postgresql://127.0.0.1:1/x", "--redis-url", "redis://x"], "127.0.0.1"),
        (["--database-url", "mysql://x", "--redis-url", "redis://x"], "--database-url"),
        (["--database-url", "postgresql://x"], "--redis-url"),
        (["--workers", "2"], "--workers"),
    ],
)
def test_what_cannot_work_is_one_line(flags: list[str], named: str) -> None:
    command = [str(BIN / "sharechat"), "serve", "--port", "0", *flags]
    ended = subprocess.run(command, env=environment(), capture_output=True, timeout=DEADLINE)
    assert ended.returncode == 2
    assert named in ended.stderr.decode()
    assert ended.stderr.count(b"\n") == 1
