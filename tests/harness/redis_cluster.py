"""A real Redis Cluster for tests and benchmarks, from the system's Redis 7."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cache
from types import TracebackType
from typing import Self

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from tests.harness.deadline import DEADLINE
from tests.harness.missing import missing
from tests.harness.ports import free_port
from tests.harness.redis import RedisServer

_NODE_TIMEOUT = 5.0
"""Seconds that a node may not answer before the others take it to have failed."""

_REPLACED_AFTER = 1.0
"""The same if it has a replica, which replaces it."""


class ClusterNode(RedisServer):
    """One node. Nodes that have met find each other again after a restart."""

    def __init__(self, *, password: str = "", timeout: float = _NODE_TIMEOUT) -> None:
        super().__init__(password=password)
        self._bus_port = free_port()
        self._timeout = timeout

    @property
    def id(self) -> str:
        return self.ask("CLUSTER", "MYID").splitlines()[1]

    def meet(self, other: "ClusterNode") -> None:
        self.command("CLUSTER", "MEET", other.host, str(other.port), str(other._bus_port))

    def command(self, *words: str) -> None:
        """Send a command that is answered by OK. Raises RuntimeError if it is not."""
        answer = self.ask(*words)
        if answer != "+OK\r\n":
            raise RuntimeError(f"{' '.join(words)}: {answer}")

    def options(self) -> dict[str, str]:
        return super().options() | {
            "cluster-enabled": "yes",
            "cluster-port": str(self._bus_port),
            "cluster-node-timeout": str(round(1000 * self._timeout)),
            "masterauth": self.password,
            # A primary without slots stays a primary.
            "cluster-allow-replica-migration": "no",
            # A replica takes over also if its last word from the primary is old.
            "cluster-replica-validity-factor": "0",
            "repl-diskless-sync-delay": "0",
        }

    def _binary(self) -> str:
        return _redis_7()


class RedisCluster:
    """A cluster of some primaries, each with a replica or none, that share the slots evenly.

    A context manager: entering it starts the nodes, leaving it kills them. Skips the test if the
    system has no Redis 7.
    """

    def __init__(self, *, primaries: int = 3, replicas: bool = False, password: str = "") -> None:
        _redis_7()
        timeout = _REPLACED_AFTER if replicas else _NODE_TIMEOUT
        nodes = [
            ClusterNode(password=password, timeout=timeout)
            for _ in range(primaries * (1 + replicas))
        ]
        self.primaries, self.replicas = nodes[:primaries], nodes[primaries:]
        self._password = password
        self._nodes = ExitStack()

    @property
    def nodes(self) -> list[ClusterNode]:
        return [*self.primaries, *self.replicas]

    @property
    def url(self) -> str:
        """Names two of the nodes: they know the others."""
        login = f":{self._password}@" if self._password else ""
        hosts = ",".join(f"{node.host}:{node.port}" for node in self.primaries[:2])
        return f"redis+cluster://{login}{hosts}"

    def owner(self, channel: bytes) -> ClusterNode:
        """Return the node that serves a channel, as the first node that answers sees it."""
        for node in self.nodes:
            try:
                slots = node.ask("CLUSTER", "NODES")
            except OSError:
                continue
            # Between the length of the answer and its end.
            for line in slots.splitlines()[1:-1]:
                if _serves(line, key_slot(channel)):
                    port = int(re.split("[:@]", line.split()[1])[1])
                    return next(node for node in self.nodes if node.port == port)
        raise RuntimeError("no node serves the channel")

    def move(self, slots: Iterable[int], source: ClusterNode, target: ClusterNode) -> None:
        """Move slots, which have no keys, from one primary to another one.

        As described for CLUSTER SETSLOT: so the target's claim is newer than the source's.
        """
        slots = list(slots)
        others = [node for node in self.primaries if node not in (source, target)]
        _set_slots(target, slots, "IMPORTING", source.id)
        _set_slots(source, slots, "MIGRATING", target.id)
        for node in (target, source, *others):
            _set_slots(node, slots, "NODE", target.id)

    def slots_of(self, primary: ClusterNode) -> range:
        """Return the slots that a primary is given at first."""
        share = -(-REDIS_CLUSTER_HASH_SLOTS // len(self.primaries))
        first = self.primaries.index(primary) * share
        return range(first, min(first + share, REDIS_CLUSTER_HASH_SLOTS))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._form()
            self._nodes = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._nodes.close()

    def wait_until_well(self) -> None:
        """Wait until every node knows all others, and that every slot is served."""
        for node in self.nodes:
            _wait_until(node, "CLUSTER INFO", "cluster_state:ok")
            _wait_until(node, "CLUSTER INFO", f"cluster_known_nodes:{len(self.nodes)}")

    def _form(self) -> None:
        for number, node in enumerate(self.nodes, 1):
            # Otherwise the nodes find out only slowly that all of theirs are the same.
            node.command("CLUSTER", "SET-CONFIG-EPOCH", str(number))
            self.primaries[0].meet(node)
        for node in self.primaries:
            slots = self.slots_of(node)
            node.command("CLUSTER", "ADDSLOTSRANGE", str(slots[0]), str(slots[-1]))
        for primary, replica in zip(self.primaries, self.replicas, strict=False):
            _wait_until(replica, "CLUSTER NODES", primary.id)
            replica.command("CLUSTER", "REPLICATE", primary.id)
        self.wait_until_well()
        for replica in self.replicas:
            _wait_until(replica, "INFO replication", "link_status:up")


def _set_slots(node: ClusterNode, slots: Sequence[int], state: str, id_: str) -> None:
    answers = node.ask_all(("CLUSTER", "SETSLOT", str(slot), state, id_) for slot in slots)
    if set(answers.split("\r\n")) != {"+OK", ""}:
        raise RuntimeError(f"CLUSTER SETSLOT {state}: {answers[:200]}")


def _serves(line: str, slot: int) -> bool:
    """Return whether a line of CLUSTER NODES says that its node serves a slot."""
    _, _, flags, *_ = words = line.split()
    bounds = [entry.partition("-") for entry in words[8:] if not entry.startswith("[")]
    return "fail" not in flags.split(",") and any(
        int(first) <= slot <= int(last or first) for first, _, last in bounds
    )


def _wait_until(node: ClusterNode, command: str, text: str) -> None:
    deadline = time.monotonic() + 3 * DEADLINE
    while text not in node.ask(*command.split()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{command} of a node never said {text}")
        time.sleep(0.02)


@cache
def _redis_7() -> str:
    path = shutil.which("redis-server")
    if path is None:
        missing("Redis 7")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    if int(re.findall(r"v=(\d+)", version.stdout)[0]) < 7:
        missing("Redis 7")
    return path
