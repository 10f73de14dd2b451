"""A program in a room of a cluster that loses a process, Redis or Postgres."""

import trio

from sharechat import client
from tests.harness.cluster import Cluster, Pair
from tests.harness.cutting_proxy import open_cutting_proxy
from tests.harness.deadline import DEADLINE, eventually
from tests.harness.http import fetch, history, make_room, texts
from tests.harness.process import ServerProcess
from tests.harness.waiting import until

SAID = [str(number) for number in range(30)]


async def listen(room: client.JoinedRoom, heard: list[client.Message]) -> None:
    async for message in room:
        heard.append(message)  # noqa: PERF401 - it never ends


async def healthy(server: ServerProcess) -> None:
    await eventually(lambda: fetch(f"{server.url}/api/healthz").status == 200)


def assert_exactly_once(heard: list[client.Message], url: str, room: str) -> None:
    """Assert that `heard` is the log from its first message on, and SAID is in it once."""
    log = history(url, room)
    ids = [message["id"] for message in log]
    assert texts(log) == SAID
    start = ids.index(heard[0].id)
    assert [m.id for m in heard] == ids[start : start + len(heard)]
    assert [m.text for m in heard if m.type == "chat"] == SAID


async def test_a_client_whose_process_is_killed_goes_on_with_another(
    servers: Cluster, pair: Pair
) -> None:
    doomed, (other, _) = servers.serve("--message-rate", "0"), pair
    room = make_room(doomed.url)
    heard: list[client.Message] = []
    async with open_cutting_proxy(doomed.port) as proxy:
        with trio.fail_after(DEADLINE * 2):
            address = f"http://127.0.0.1:{proxy.port}/room/{room}"
            async with client.join(address) as joined, trio.open_nursery() as nursery:
                nursery.start_soon(listen, joined, heard)
                for number, text in enumerate(SAID):
                    if number == 15:
                        proxy.target = other.port
                        async with trio.open_nursery() as saying:
                            # The process may or may not store it before it is killed.
                            saying.start_soon(joined.say, text)
                            saying.start_soon(trio.to_thread.run_sync, doomed.kill)
                    else:
                        await joined.say(text)
                await until(lambda: bool(heard) and heard[-1].text == SAID[-1])
                nursery.cancel_scope.cancel()
        assert proxy.accepted >= 2
    await trio.to_thread.run_sync(assert_exactly_once, heard, other.url, room)


async def test_clients_of_two_processes_hear_each_other_though_redis_is_away(
    servers: Cluster, impatient: Pair
) -> None:
    here, there = impatient
    room = make_room(here.url)
    heard: list[client.Message] = []
    with trio.fail_after(DEADLINE * 2):
        async with (
            client.join(f"{here.url}/room/{room}", hear=False) as speaker,
            client.join(f"{there.url}/room/{room}") as listener,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(listen, listener, heard)
            await until(lambda: bool(heard))
            for number, text in enumerate(SAID):
                if number == 10:
                    servers.redis.kill()
                if number == 20:
                    await until(lambda: SAID[19] in [m.text for m in heard])
                    servers.redis.start()
                await speaker.say(text)
            await until(lambda: heard[-1].text == SAID[-1])
            nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(assert_exactly_once, heard, there.url, room)


async def test_what_postgres_did_not_store_can_be_said_again_once_it_is_back(
    servers: Cluster, impatient: Pair
) -> None:
    """Takes a second of real time, after which a process gives up storing a message."""
    here, there = impatient
    room = make_room(here.url)
    heard: list[client.Message] = []
    with trio.fail_after(DEADLINE * 2):
        async with (
            client.join(f"{here.url}/room/{room}", hear=False) as speaker,
            client.join(f"{there.url}/room/{room}") as listener,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(listen, listener, heard)
            await until(lambda: bool(heard))
            for text in SAID[:10]:
                await speaker.say(text)
            servers.postgres.stop()
            id_ = ""
            try:
                await speaker.say(SAID[10])
            except client.NotStoredError as error:
                id_ = error.id
            finally:
                servers.postgres.start()
            assert id_
            for server in (here, there):
                await healthy(server)
            await speaker.say(SAID[10], id=id_)
            for text in SAID[11:]:
                await speaker.say(text)
            await until(lambda: heard[-1].text == SAID[-1])
            nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(assert_exactly_once, heard, there.url, room)
