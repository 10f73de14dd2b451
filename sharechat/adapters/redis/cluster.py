"""A Redis Cluster: which of its nodes serves which slot.

The rules are those of the Redis Cluster specification, "Redirection and resharding".
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot

from sharechat.adapters.redis.protocol import ConnectionFailedError
from sharechat.adapters.redis.redis_connection import Connect
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

    def __str__(self) -> str:
        return f"the cluster of {', '.join(map(str, self._seeds))}"

    def ask_first(self, node: Endpoint) -> None:
        """Ask this node before the others from now on."""
        self._nodes = _unique([node, *self._nodes])

    def ask_last(self, node: Endpoint) -> None:
        """Ask the other nodes before this one from now on."""
        self._nodes = [*(other for other in self._nodes if other != node), node]

    async def find_owners(self, connect: Connect) -> list[Endpoint | None]:
        """Return, for each slot, the primary that serves it. Cancelling leaves no connection open.

        Raises ConnectionFailedError, with what became of each node, if none tells.
        """
        reasons = []
        for node in _unique([*self._nodes, *self._seeds]):
            try:
                async with connect(node, b"sharechat") as connection:
                    ranges = await connection.ask(b"CLUSTER", b"SLOTS")
            except ConnectionFailedError as error:
                reasons.append(str(error))
                continue
            owners: list[Endpoint | None] = [None] * SLOTS
            known = []
            for start, end, *servers in ranges:
                primary, *replicas = [self._endpoint(server, node) for server in servers]
                owners[start : end + 1] = [primary] * (end + 1 - start)
                known += [primary, *replicas]
            if known:
                self._nodes = _unique([node, *self._nodes, *known], among=known)
                return owners
            reasons.append(f"{node} knows no node that serves a slot")
        raise ConnectionFailedError("; ".join(reasons))

    def _endpoint(self, server: list[Any], asked: Endpoint) -> Endpoint:
        host, port, *_ = server
        # A node that does not know its own address, or name, is the one that was asked.
        host = asked.host if host in (None, b"", b"?") else host.decode()
        return replace(self.pattern, host=host, port=port)


def _unique(nodes: list[Endpoint], among: Iterable[Endpoint] | None = None) -> list[Endpoint]:
    """Return the nodes in this order, each once; with `among`, only those of them."""
    chosen = None if among is None else {(node.host, node.port) for node in among}
    unique = {(node.host, node.port): node for node in reversed(nodes)}
    return [node for key, node in reversed(unique.items()) if chosen is None or key in chosen]
