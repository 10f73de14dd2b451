"""Which node of a cluster is asked who serves which slot, and which is believed: no I/O."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from sharechat.adapters.redis.cluster import SLOTS, Cluster
from sharechat.adapters.redis.protocol import ConnectionFailedError
from sharechat.adapters.redis.redis_connection import RedisConnection
from sharechat.adapters.redis.url import Endpoint


class Node:
    """A node that says that `owner` serves all slots, as of `epoch`; it is away if that is 0."""

    def __init__(self, port: int, nodes: dict[int, "Node"]) -> None:
        self.port = port
        self.epoch = 1
        self.owner = 1
        self._nodes = nodes

    async def ask(self, *words: bytes) -> Any:
        if words == (b"CLUSTER", b"INFO"):
            return b"cluster_state:ok\r\ncluster_current_epoch:%d\r\n" % self.epoch
        replicas = [[b"10.0.0.1", port, b"id"] for port in self._nodes if port != self.owner]
        return [[0, SLOTS - 1, [b"10.0.0.1", self.owner, b"id"], *replicas]]


class Nodes:
    """Four nodes, of which the cluster is told the first, and which of them are asked."""

    def __init__(self) -> None:
        self.by_port: dict[int, Node] = {}
        for port in range(1, 5):
            self.by_port[port] = Node(port, self.by_port)
        self.asked: list[int] = []
        self.cluster = Cluster([Endpoint(host="10.0.0.1", port=1)])

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint, _name: bytes) -> AsyncIterator[RedisConnection]:
        self.asked.append(endpoint.port)
        node = self.by_port[endpoint.port]
        if not node.epoch:
            raise ConnectionFailedError(f"{endpoint.port} is away")
        yield cast(RedisConnection, node)

    async def find_owner(self) -> int:
        """Return the port of the owner of all slots, as found by one question."""
        self.asked.clear()
        owners = await self.cluster.find_owners(self.connect)
        assert len(owners) == SLOTS
        (port,) = {owner.port for owner in owners if owner is not None}
        return port


async def test_each_question_goes_to_another_node() -> None:
    nodes = Nodes()
    asked = set()
    for _ in range(4):
        assert await nodes.find_owner() == 1
        assert len(nodes.asked) == 1
        asked.update(nodes.asked)
    assert asked == {1, 2, 3, 4}


async def test_who_has_moved_a_slot_is_asked_first_and_who_was_lost_last() -> None:
    nodes = Nodes()
    await nodes.find_owner()
    nodes.cluster.ask_first(Endpoint(host="10.0.0.1", port=3))
    await nodes.find_owner()
    assert nodes.asked == [3]
    nodes.cluster.ask_last(Endpoint(host="10.0.0.1", port=2))
    nodes.by_port[2].epoch = nodes.by_port[4].epoch = 0
    await nodes.find_owner()
    assert nodes.asked in ([1], [3], [4, 1], [4, 3])


async def test_a_node_that_is_cut_off_does_not_hide_a_failover_nor_undo_it() -> None:
    nodes = Nodes()
    await nodes.find_owner()
    cut_off = nodes.by_port[2]
    nodes.by_port[1].epoch = 0
    for port in (3, 4):
        nodes.by_port[port].epoch, nodes.by_port[port].owner = 2, 4
    nodes.cluster.ask_first(Endpoint(host="10.0.0.1", port=cut_off.port))
    found = [await nodes.find_owner() for _ in range(3)]
    assert found[0] == 1
    assert found[-1] == 4
    for _ in range(5):
        nodes.cluster.ask_first(Endpoint(host="10.0.0.1", port=cut_off.port))
        assert await nodes.find_owner() == 4


async def test_a_cluster_that_was_made_anew_is_believed_though_its_epoch_is_lower() -> None:
    nodes = Nodes()
    for node in nodes.by_port.values():
        node.epoch = 7
    await nodes.find_owner()
    for node in nodes.by_port.values():
        node.epoch, node.owner = 1, 3
    assert await nodes.find_owner() == 3
    assert sorted(nodes.asked) == [1, 2, 3, 4]
    assert await nodes.find_owner() == 3
    assert len(nodes.asked) == 1


async def test_what_became_of_each_node_is_told_if_none_answers() -> None:
    nodes = Nodes()
    await nodes.find_owner()
    for node in nodes.by_port.values():
        node.epoch = 0
    with pytest.raises(ConnectionFailedError) as raised:
        await nodes.find_owner()
    assert all(f"{port} is away" in str(raised.value) for port in nodes.by_port)
