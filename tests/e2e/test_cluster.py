"""Several processes serve a room as one server would."""

import signal
import subprocess

import pytest
import trio
from trio_websocket import ConnectionRejected

from tests.harness.cluster import Cluster, Pair, assert_heard_without_gaps, listen
from tests.harness.deadline import DEADLINE
from tests.harness.http import fetch, history, make_room, members
from tests.harness.postgres_clients import as_url, new_database
from tests.harness.process import BIN, environment
from tests.harness.talker import join


async def test_members_on_several_processes_and_workers_share_one_room(
    servers: Cluster, pair: Pair
) -> None:
    workers = servers.serve("--workers", "2")
    room = make_room(pair[0].url)
    async with trio.open_nursery() as nursery:
        urls = [server.ws_url(room) for server in (*pair, workers, workers, workers)]
        listeners = [await listen(nursery, url) for url in urls]
        async with trio.open_nursery() as talking:
            for index, listener in enumerate(listeners):
                talking.start_soon(listener.say_numbers, index, 10)
        for listener in listeners:
            await listener.until("chat", 50)
        log = history(workers.url, room)
        for listener in listeners:
            assert_heard_without_gaps(listener.heard, log)
        joined = [message["memberId"] for message in log if message["type"] == "joined"]
        assert [member["id"] for member in members(pair[1].url, room)] == joined
        nursery.cancel_scope.cancel()
    # The end of its terminal stops it, workers included, as SIGTERM does.
    workers.signal(signal.SIGHUP)
    assert await trio.to_thread.run_sync(workers.wait) == 0


async def test_a_client_may_resume_after_a_message_on_another_process(pair: Pair) -> None:
    room = make_room(pair[0].url)
    async with trio.open_nursery() as nursery:
        first = await listen(nursery, pair[0].ws_url(room))
        await first.say_numbers(0, 3)
        await first.until("chat", 3)
        seen = first.heard[1]
        await first.talker.drop()
        again = await listen(nursery, f"{pair[1].ws_url(room)}?after={seen['id']}")
        await again.talker.say("back")
        await again.until("chat", 3)
        log = history(pair[0].url, room)
        assert again.heard == log[log.index(seen) + 1 :][: len(again.heard)]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("cursor", ["nonsense", "00000000-0000-7000-8000-000000000000"])
async def test_resuming_after_an_unknown_message_is_refused(pair: Pair, cursor: str) -> None:
    room = make_room(pair[0].url)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ConnectionRejected) as refused:
            await join(nursery, f"{pair[0].ws_url(room)}?after={cursor}")
        assert refused.value.status_code == 400
        nursery.cancel_scope.cancel()


async def test_deleting_a_room_closes_its_members_on_every_process(pair: Pair) -> None:
    made = fetch(f"{pair[0].url}/api/room", "POST")
    room = made.json["roomId"]
    async with trio.open_nursery() as nursery:
        talkers = [await join(nursery, server.ws_url(room)) for server in pair]
        key = {"Authorization": f"Bearer {made.headers['Sharechat-Room-Key']}"}
        assert fetch(f"{pair[1].url}/api/room/{room}", "DELETE", key).status == 204
        assert [await talker.close_code() for talker in talkers] == [4410, 4410]
        nursery.cancel_scope.cancel()


async def test_migrate_needs_the_database_alone_may_run_again_and_says_what_it_did(
    servers: Cluster,
) -> None:
    def run(url: str) -> str:
        command = [str(BIN / "sharechat"), "migrate", "--database-url", url]
        done = subprocess.run(
            command, env=environment(), capture_output=True, timeout=DEADLINE, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    async with new_database(servers.postgres.url) as empty:
        assert (await trio.to_thread.run_sync(run, as_url(empty))).startswith(
            "Applied 0001_tables, "
        )
        again = await trio.to_thread.run_sync(run, as_url(empty))
        assert again == "There was nothing to do. The schema is up to date.\n"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--database-url", "postgresql://127.0.0.1:1/x", "--redis-url", "redis://x"], "127.0.0.1"),
        (["--database-url", "mysql://x", "--redis-url", "redis://x"], "--database-url"),
        (["--database-url", "postgresql://x"], "--redis-url"),
        (["--workers", "2"], "--workers"),
    ],
)
def test_a_cluster_that_cannot_work_is_refused_in_one_line(flags: list[str], named: str) -> None:
    command = [str(BIN / "sharechat"), "serve", "--port", "0", *flags]
    ended = subprocess.run(command, env=environment(), capture_output=True, timeout=DEADLINE)
    assert ended.returncode == 2
    assert named in ended.stderr.decode()
    assert ended.stderr.count(b"\n") == 1
