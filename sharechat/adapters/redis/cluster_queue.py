"""The Queue over a Redis Cluster. `sharechat.domain.ports` describes each method."""

import secrets
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import partial
from itertools import count
from math import inf
from typing import Unpack

import trio

from sharechat.adapters.redis.cluster import SLOTS, Cluster, key_slot
from sharechat.adapters.redis.connector import Connector
from sharechat.adapters.redis.health import Health
from sharechat.adapters.redis.link import Link, LinkOptions
from sharechat.adapters.redis.protocol import ConnectionFailedError
from sharechat.adapters.redis.pubsub import SHARDED
from sharechat.adapters.redis.shard import ROOM_PREFIX, Shard, slot_of
from sharechat.adapters.redis.subscriptions import Subscriptions
from sharechat.adapters.redis.url import Endpoint
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener
from sharechat.domain.telemetry import SILENT, Level, Telemetry

_MIN_PAUSE = 0.1
"""Seconds between two questions which node serves which slot."""

_RETRY_INTERVAL = 1.0
"""Seconds until that is asked again after a change, and while no node serves some slot.

The pause doubles up to this while one slot after the other moves.
"""

_PATIENCE = 3
"""Questions in a row after which slots that still move count as an outage."""


class ClusterQueue:
    """The Queue over a Redis Cluster by sharded pub/sub: a Link to each primary.

    A room's channel belongs to a slot, and its messages go through the node that serves it. When
    a node says that it no longer does, or a link is interrupted, the nodes are asked who serves
    which slot now, and the rooms follow. Those who subscribe to a room that was published to
    meanwhile are told to look at it.

    There is a link to every primary, whether a room here needs it or not: so `check` is about all
    of them, and no room waits for a connection.
    """

    def __init__(
        self,
        cluster: Cluster,
        connector: Connector,
        telemetry: Telemetry = SILENT,
        **options: Unpack[LinkOptions],
    ) -> None:
        """The `options` are those of each Link."""
        self._cluster = cluster
        self._connector = connector
        self._telemetry = telemetry
        self._options = options
        self._shards: dict[tuple[str, int], Shard] = {}
        # For each slot, the shard that serves it.
        self._routes: list[Shard | None] = [None] * SLOTS
        # The rooms that are subscribed to, by slot.
        self._rooms: dict[int, set[RoomId]] = {}
        # Rooms with publications that reached nobody.
        self._unheard: set[RoomId] = set()
        # Slots, and the shards that have said since the last question that they do not serve them.
        self._disowned: set[tuple[int, Shard]] = set()
        # How many questions in a row were asked because of some.
        self._disputes = 0
        self._outdated = trio.Event()
        self._health = Health()
        telemetry.watch(Level.BUS_UP, lambda: float(self._working))

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        if shard := self._routes[slot_of(room_id)]:
            shard.link.publish(room_id, entries)
        else:
            self._unheard.add(room_id)
            self._telemetry.lost(len(entries))

    def publish_look(self, room_id: RoomId) -> None:
        self.publish(room_id, ())

    def subscribe(self, room_id: RoomId) -> None:
        slot = slot_of(room_id)
        self._rooms.setdefault(slot, set()).add(room_id)
        if shard := self._routes[slot]:
            shard.link.subscribe(room_id)

    def unsubscribe(self, room_id: RoomId) -> None:
        slot = slot_of(room_id)
        if rooms := self._rooms.get(slot):
            rooms.discard(room_id)
            if not rooms:
                del self._rooms[slot]
        if shard := self._routes[slot]:
            shard.link.unsubscribe(room_id)

    @property
    def _working(self) -> bool:
        return self._health.working and all(s.link.working for s in self._shards.values())

    def check(self) -> None:
        self._health.check()
        for shard in self._shards.values():
            shard.link.check()

    async def run(
        self,
        listener: Listener,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self._health.set_pending(f"asking {self._cluster}")
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    self._outdated = trio.Event()
                    with trio.move_on_after(await self._update(nursery, listener)):
                        await self._outdated.wait()
                    await trio.sleep(min(_MIN_PAUSE * 2 ** min(self._disputes, 4), _RETRY_INTERVAL))
        finally:
            self._health.set_pending("it is not running")
            self._route([None] * SLOTS)
            self._shards.clear()

    async def _update(self, nursery: trio.Nursery, listener: Listener) -> float:
        """Ask who serves which slot, and act on it; return after how many seconds to ask again."""
        try:
            owners = await self._cluster.find_owners(self._connector.connect)
        except ConnectionFailedError as error:
            self._health.set_failed(str(error))
            return _RETRY_INTERVAL
        running = set(self._shards.values())
        routes = [None if owner is None else self._shard_of(owner) for owner in owners]
        changed = routes != self._routes
        disowned, self._disowned = self._disowned, set()
        self._disputes = self._disputes + 1 if disowned else 0
        self._route(routes, disowned)
        serving = set(routes)
        for key, shard in list(self._shards.items()):
            if shard not in serving:
                shard.scope.cancel()
                del self._shards[key]
            elif shard not in running:
                nursery.start_soon(self._run_shard, shard, listener)
        if unserved := owners.count(None):
            self._health.set_failed(f"no node of {self._cluster} serves {unserved} of its slots")
            return _RETRY_INTERVAL
        if self._disputes > _PATIENCE:
            # The nodes may not agree; or very many are moved. Rooms may not be heard meanwhile.
            self._health.set_failed(f"slots of {self._cluster} are moving")
            return _RETRY_INTERVAL
        self._health.set_working(0)
        # Slots move one by one, and nobody tells of those that have no room.
        return _RETRY_INTERVAL if changed else inf

    def _shard_of(self, owner: Endpoint) -> Shard:
        """Return the shard of a primary, and make it if there is none yet."""
        key = (owner.host, owner.port)
        shard = self._shards.get(key)
        if shard is None:
            shard = self._shards[key] = Shard(owner)
            shard.link = Link(
                owner,
                self._connector,
                Subscriptions(ROOM_PREFIX, SHARDED),
                partial(self._new_probe_channel, shard),
                moved=partial(self._moved, shard),
                interrupted=partial(self._interrupted, shard),
                telemetry=self._telemetry,
                **self._options,
            )
        return shard

    async def _run_shard(self, shard: Shard, listener: Listener) -> None:
        with shard.scope:
            await shard.link.run(listener)

    def _route(
        self, routes: list[Shard | None], disowned: Collection[tuple[int, Shard]] = ()
    ) -> None:
        """Take new routes. Rooms follow, and are to be looked at if something was not heard.

        What was `disowned` may be so still: a room that stays with such a shard is subscribed to
        again, and the shard accepts or disowns it again.
        """
        left: defaultdict[Shard, set[int]] = defaultdict(set)
        for slot, (old, new) in enumerate(zip(self._routes, routes, strict=True)):
            if old is new and (old is None or (slot, old) not in disowned):
                continue
            rooms = sorted(self._rooms.get(slot, ()))
            if old is not None and old is not new:
                left[old].add(slot)
                for room_id in rooms:
                    old.link.unsubscribe(room_id)
            if new is not None:
                for room_id in rooms:
                    new.link.subscribe(room_id)
        self._routes = routes
        for shard, slots in left.items():
            self._take_unheard(shard, slots)
        unheard, self._unheard = self._unheard, set()
        for room_id in sorted(unheard):
            if shard_now := routes[slot_of(room_id)]:
                shard_now.link.publish_looks((room_id,))
            else:
                self._unheard.add(room_id)

    def _take_unheard(self, shard: Shard, slots: Collection[int]) -> None:
        """Remember which rooms of these slots have publications that a shard may not have."""
        self._unheard |= shard.link.take_unconfirmed(lambda room_id: slot_of(room_id) in slots)

    def _moved(self, shard: Shard, slot: int) -> None:
        """Find out where a slot is that a shard does not serve."""
        # At once, since a probe that comes back would confirm them.
        self._take_unheard(shard, (slot,))
        self._disowned.add((slot, shard))
        self._cluster.ask_first(shard.endpoint)
        self._outdated.set()
        if slot == shard.probe_slot:
            raise ConnectionFailedError(f"{shard.endpoint} no longer serves the slot of the probe")

    def _interrupted(self, shard: Shard) -> None:
        """Find out whether another node serves the slots of a shard now."""
        self._cluster.ask_last(shard.endpoint)
        self._outdated.set()

    def _new_probe_channel(self, shard: Shard) -> bytes:
        """Return a channel of a slot that the shard serves."""
        if shard not in self._routes:
            raise ConnectionFailedError(f"{shard.endpoint} serves no slot")
        prefix = b"sharechat:0:probe:%s:" % secrets.token_hex(16).encode()
        for number in count():
            channel = prefix + b"%d" % number
            shard.probe_slot = key_slot(channel)
            if self._routes[shard.probe_slot] is shard:
                break
        return channel
