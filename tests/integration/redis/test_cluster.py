"""Redis Cluster: rooms are spread over the shards, and follow their slots."""

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
import trio
from redis.crc import key_slot

from sharechat.adapters.redis import open_queue
from sharechat.domain.ids import RoomId, new_room_id
from tests.harness.deadline import DEADLINE
from tests.harness.queues import Recorder, make_entry, new_room_ids, until_working
from tests.harness.redis import RedisServer
from tests.harness.redis_cluster import ClusterNode, RedisCluster
from tests.harness.redis_queues import (
    assert_hears_once,
    impatient_queue,
    running,
    sharechat_connections,
    until_failing,
)
from tests.harness.talk import start_talk
from tests.harness.waiting import until


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """Three primaries, which tests leave as they were."""
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture
def replicated() -> Iterator[RedisCluster]:
    """Three primaries with a replica each."""
    with RedisCluster(replicas=True) as cluster:
        yield cluster


def channel_of(room_id: RoomId) -> bytes:
    return b"sharechat:0:room:" + room_id.encode()


def room_of(cluster: RedisCluster, node: ClusterNode) -> RoomId:
    """Return a new room whose channel a node serves."""
    rooms = (new_room_id() for _ in range(1_000))
    return next(room for room in rooms if cluster.owner(channel_of(room)) is node)


def connections(node: RedisServer) -> int:
    """Return how many connections the queues have to a node; none if it does not answer."""
    try:
        return len(sharechat_connections(node))
    except OSError:
        return 0


def takes_over(replica: ClusterNode) -> bool:
    """Tell a replica to take over, as an operator does; return whether it has."""
    replica.ask("CLUSTER", "FAILOVER")
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        if "role:master" in replica.ask("INFO", "replication"):
            return True
        time.sleep(0.1)
    return False


async def test_rooms_are_spread_over_the_primaries(cluster: RedisCluster) -> None:
    rooms = new_room_ids(60)
    here, there = open_queue(cluster.url), open_queue(cluster.url)
    async with running(here), running(there, *rooms) as recorder:
        for room in rooms:
            await assert_hears_once(here, recorder, room)
        for node in cluster.primaries:
            channels = node.ask("PUBSUB", "SHARDCHANNELS", "sharechat:0:room:*").count("room:")
            assert 0 < channels < len(rooms)


async def test_another_node_is_asked_if_the_first_is_away(cluster: RedisCluster) -> None:
    room = new_room_id()
    url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{cluster.primaries[2].port}"
    async with running(open_queue(url), room):
        await until(
            lambda: all(connections(node) == 2 for node in cluster.primaries), within=DEADLINE
        )


async def test_entries_are_heard_or_looked_for_while_their_slot_moves(
    cluster: RedisCluster,
) -> None:
    first, second, third = cluster.primaries
    room = room_of(cluster, first)
    slot = key_slot(channel_of(room))
    async with trio.open_nursery() as nursery:
        talk = await start_talk(nursery, cluster.url, room)
        for source, target in pairwise((first, second, third, first)):
            await trio.to_thread.run_sync(cluster.move, [slot], source, target)
            await talk.goes_on()
            assert room in target.ask("PUBSUB", "SHARDCHANNELS")
            assert not talk.unnoticed()
        nursery.cancel_scope.cancel()


async def test_a_primary_is_left_while_it_has_no_slots(cluster: RedisCluster) -> None:
    """The slot of the probe goes, too."""
    leaving, staying, _ = cluster.primaries
    slots = cluster.slots_of(leaving)
    room = room_of(cluster, leaving)
    async with trio.open_nursery() as nursery:
        talk = await start_talk(nursery, cluster.url, room)
        await trio.to_thread.run_sync(cluster.move, slots, leaving, staying)
        await talk.goes_on()
        await until(lambda: not connections(leaving), within=DEADLINE)
        assert not talk.unnoticed()
        await trio.to_thread.run_sync(cluster.move, slots, staying, leaving)
        await until(lambda: connections(leaving) == 4, within=DEADLINE)
        await talk.goes_on()
        assert not talk.unnoticed()
        nursery.cancel_scope.cancel()


@pytest.mark.time_limit(120)
@pytest.mark.parametrize("how", ["killed", "frozen", "demoted"])
async def test_entries_are_heard_or_looked_for_when_a_replica_takes_over(
    replicated: RedisCluster, how: str
) -> None:
    """Takes seconds: the other nodes have to be sure."""
    primary, replica = replicated.primaries[0], replicated.replicas[0]
    room = room_of(replicated, primary)
    async with trio.open_nursery() as nursery:
        talk = await start_talk(nursery, replicated.url, room)
        if how == "killed":
            primary.kill()
        elif how == "frozen":
            primary.freeze()
        else:
            # It gives up if the nodes are slow to agree.
            while not await trio.to_thread.run_sync(takes_over, replica):
                pass
        await until(lambda: connections(replica) == 4, within=60)
        await talk.goes_on()
        assert not talk.unnoticed()
        nursery.cancel_scope.cancel()


async def test_a_primary_without_a_replica_may_come_back(cluster: RedisCluster) -> None:
    lost, *_ = cluster.primaries
    room = room_of(cluster, lost)
    here, there = impatient_queue(cluster.url), impatient_queue(cluster.url)
    async with running(here), running(there, room) as recorder:
        lost.kill()
        await until_failing(here, str(lost.port))
        here.publish(room, [make_entry(room)])
        lost.start()
        await until_working(here)
        await until_working(there)
        await recorder.has_missed(room)
        await assert_hears_once(here, recorder, room)
    await trio.to_thread.run_sync(cluster.wait_until_well)


async def test_slots_that_no_node_serves_are_told_until_they_are_served(
    cluster: RedisCluster,
) -> None:
    primary, *_ = cluster.primaries
    room = room_of(cluster, primary)
    slot = str(key_slot(channel_of(room)))
    here, there = impatient_queue(cluster.url), impatient_queue(cluster.url)
    async with running(here), running(there, room) as recorder:
        for node in cluster.primaries:
            node.command("CLUSTER", "DELSLOTS", slot)
        await until_failing(there, "serves 1 of its slots")
        recorder.clear()
        here.publish(room, [make_entry(room)])
        await until_failing(here, "serves 1 of its slots")
        primary.command("CLUSTER", "ADDSLOTS", slot)
        await until_working(here)
        await until_working(there)
        await recorder.has_missed(room)
        await assert_hears_once(here, recorder, room)
    await trio.to_thread.run_sync(cluster.wait_until_well)


async def test_a_server_that_is_no_cluster_is_named(server: RedisServer) -> None:
    queue = open_queue(f"redis+cluster://127.0.0.1:{server.port}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run, Recorder())
        reason = await until_failing(queue, "cluster support disabled")
        assert str(server.port) in reason
        nursery.cancel_scope.cancel()


async def test_a_user_who_may_do_nothing_but_publish_and_subscribe_is_enough() -> None:
    rights = (
        "+cluster|info",
        "+cluster|slots",
        "+spublish",
        "+ssubscribe",
        "+sunsubscribe",
        "&sharechat:*",
    )
    with RedisCluster(password="open sesame") as cluster:
        for node in cluster.primaries:
            node.command("ACL", "SETUSER", "chat", "on", ">p@ss", "resetchannels", *rights)
        room = new_room_id()
        url = cluster.url.replace(":open sesame@", "chat:p%40ss@")
        here, there = open_queue(url), open_queue(url)
        async with running(here, room), running(there, room) as recorder:
            await assert_hears_once(here, recorder, room)


@pytest.mark.parametrize("checkpoints", [*range(0, 40, 5), 10_000])
async def test_cancelling_leaves_no_connection_open(
    cluster: RedisCluster, checkpoints: int
) -> None:
    queue = open_queue(cluster.url)
    queue.subscribe(new_room_id())
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        await nursery.start(queue.run, Recorder())
        if checkpoints > 1_000:
            await until_working(queue)
        for _ in range(checkpoints % 1_000):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    await until(lambda: not any(map(connections, cluster.primaries)), within=DEADLINE)


async def test_a_queue_that_has_ended_can_be_run_again(cluster: RedisCluster) -> None:
    """The Controller does so after an error that nobody foresaw."""
    room = new_room_id()
    here, there = open_queue(cluster.url), open_queue(cluster.url)
    async with running(here), running(there, room):
        pass
    async with running(here), running(there, room) as recorder:
        await assert_hears_once(here, recorder, room)
