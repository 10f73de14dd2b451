"""A Redis Cluster: which of its nodes serves which slot.

The rules are those of the Redis Cluster specification, "Redirection and resharding".
"""

import re
from dataclasses import replace
from typing import Any, NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot

from sharechat.adapters.redis.protocol import ConnectionFailedError
from sharechat.adapters.redis.redis_connection import Connect, RedisConnection
from sharechat.adapters.redis.url import Endpoint

__all__ = ["SLOTS", "Cluster", "key_slot"]


class Cluster:
    """The nodes of a cluster: the `seeds`, and those that they have told of.

    `pattern` says how to connect to a node, but for its host and port.
    """

    def __init__(self, seeds: list[Endpoint]) -> None:
        self.pattern = seeds[0]
        self._seeds = seeds
        # Whom to ask, in this order.
        self._nodes: list[Endpoint] = []
        # Of the view that was taken last. It grows with each failover.
        self._epoch = 0

    def __str__(self) -> str:
        return f"the cluster of {', '.join(map(str, self._seeds))}"

    def ask_first(self, node: Endpoint) -> None:
        """Ask this node before the others the next time."""
        self._nodes = [node, *_without(node, self._nodes)]

    def ask_last(self, node: Endpoint) -> None:
        """Ask the other nodes before this one from now on."""
        self._nodes = [*_without(node, self._nodes), node]

    async def find_owners(self, connect: Connect) -> list[Endpoint | None]:
        """Return, for each slot, the primary that serves it. Cancelling leaves no connection open.

        A node that is cut off from the others may have missed a failover. So each question goes to
        another node than the last one, and a view that is older than the one that was taken last
        counts only if there is none that is newer.

        Raises ConnectionFailedError, with what became of each node, if none tells.
        """
        reasons = []
        newest: _View | None = None
        for node in [*self._nodes, *(seed for seed in self._seeds if seed not in self._nodes)]:
            try:
                async with connect(node, b"sharechat") as connection:
                    view = await self._view(connection, node)
            except ConnectionFailedError as error:
                reasons.append(str(error))
                continue
            if not view.nodes:
                reasons.append(f"{node} knows no node that serves a slot")
                continue
            if newest is None or view.epoch > newest.epoch:
                newest = view
            if newest.epoch >= self._epoch:
                break
        if newest is None:
            raise ConnectionFailedError("; ".join(reasons))
        self._epoch = newest.epoch
        known = [node for node in self._nodes if node in newest.nodes]
        self._nodes = [*known, *(node for node in newest.nodes if node not in known)]
        self.ask_last(newest.asked)
        return newest.owners

    async def _view(self, connection: RedisConnection, asked: Endpoint) -> "_View":
        info = await connection.ask(b"CLUSTER", b"INFO")
        found = re.search(rb"cluster_current_epoch:(\d+)", info)
        owners: list[Endpoint | None] = [None] * SLOTS
        nodes: list[Endpoint] = []
        for start, end, *servers in await connection.ask(b"CLUSTER", b"SLOTS"):
            primary, *replicas = [self._endpoint(server, asked) for server in servers]
            owners[start : end + 1] = [primary] * (end + 1 - start)
            nodes += [node for node in (primary, *replicas) if node not in nodes]
        return _View(asked, int(found[1]) if found else 0, owners, nodes)

    def _endpoint(self, server: list[Any], asked: Endpoint) -> Endpoint:
        host, port, *_ = server
        # A node that does not know its own address, or name, is the one that was asked.
        host = asked.host if host in (None, b"", b"?") else host.decode()
        return replace(self.pattern, host=host, port=port)


class _View(NamedTuple):
    """What one node says of the cluster."""

    asked: Endpoint
    epoch: int
    owners: list[Endpoint | None]
    nodes: list[Endpoint]


def _without(node: Endpoint, nodes: list[Endpoint]) -> list[Endpoint]:
    return [other for other in nodes if other != node]
