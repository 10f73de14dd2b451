"""The Queue over one Redis server. `sharechat.domain.ports` describes each method."""

import secrets
from collections.abc import Sequence
from typing import Unpack

import trio

from sharechat.adapters.redis.connector import Connector
from sharechat.adapters.redis.link import Link, LinkOptions
from sharechat.adapters.redis.sentinel import Sentinels
from sharechat.adapters.redis.subscriptions import Subscriptions
from sharechat.adapters.redis.url import Endpoint
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener
from sharechat.domain.telemetry import SILENT, Level, Telemetry


class RedisQueue:
    """The Queue over one Redis, or over the one that sentinels name: a single Link."""

    def __init__(
        self,
        address: Endpoint | Sentinels,
        connector: Connector,
        telemetry: Telemetry = SILENT,
        **options: Unpack[LinkOptions],
    ) -> None:
        """The `options` are those of its Link."""
        # All databases of one Redis share their channels, so the name has to tell them apart.
        prefix = f"sharechat:{connector.pattern.database}:"
        probe_channel = f"{prefix}probe:{secrets.token_hex(16)}".encode()
        self._link = Link(
            address,
            connector,
            Subscriptions(f"{prefix}room:".encode()),
            lambda: probe_channel,
            telemetry=telemetry,
            **options,
        )
        telemetry.watch(Level.BUS_UP, lambda: float(self._link.working))

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        self._link.publish(room_id, entries)

    def publish_look(self, room_id: RoomId) -> None:
        self._link.publish(room_id, ())

    def subscribe(self, room_id: RoomId) -> None:
        self._link.subscribe(room_id)

    def unsubscribe(self, room_id: RoomId) -> None:
        self._link.unsubscribe(room_id)

    def check(self) -> None:
        self._link.check()

    async def run(
        self,
        listener: Listener,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        task_status.started()
        await self._link.run(listener)
