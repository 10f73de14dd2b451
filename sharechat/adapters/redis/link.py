"""A link to one Redis server: the tasks that do the I/O."""

from collections.abc import Callable, Collection, Sequence
from random import Random, SystemRandom
from typing import Any, TypedDict

import hiredis
import structlog
import trio

from sharechat.adapters.redis.auto_reset_event import AutoResetEvent
from sharechat.adapters.redis.connector import Connector
from sharechat.adapters.redis.health import Health
from sharechat.adapters.redis.probe import Probe
from sharechat.adapters.redis.protocol import ConnectionFailedError, parse_moved
from sharechat.adapters.redis.redis_connection import RedisConnection
from sharechat.adapters.redis.send_buffer import SendBuffer
from sharechat.adapters.redis.sentinel import Sentinels, check_role
from sharechat.adapters.redis.subscriptions import Subscriptions
from sharechat.adapters.redis.unconfirmed import UnconfirmedRooms
from sharechat.adapters.redis.url import Endpoint
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener
from sharechat.domain.telemetry import SILENT, Telemetry

log = structlog.get_logger()

_random = SystemRandom()

_MIN_BACKOFF = 0.05
"""Seconds to wait at most before the first attempt to reconnect; doubles with each attempt."""

_MAX_BACKOFF = 2.0
"""Seconds to wait at most before any attempt to reconnect."""


class LinkOptions(TypedDict, total=False):
    """What may be chosen for each link; see `Link`."""

    probe_interval: float
    buffer_size: int
    random: Random


class Link:
    """Carries messages through one Redis: one connection subscribes, another one publishes.

    With sentinels they are asked before each attempt to connect which server that is.

    Redis may vanish, freeze or lose a subscription without a sign of it. So every
    `probe_interval` seconds the link publishes a probe to a channel of its own. If the probe
    does not come back within the connector's timeout, both connections are made anew; likewise if
    Redis does not answer within that time while connecting. What is published during an
    outage, or while `buffer_size` bytes wait to be sent, is dropped; afterwards, the
    subscribers of those rooms are told to look at them.

    Its methods are those of the Queue that it works for.
    """

    def __init__(
        self,
        address: Endpoint | Sentinels,
        connector: Connector,
        subscriptions: Subscriptions,
        new_probe_channel: Callable[[], bytes],
        *,
        moved: Callable[[int], None] | None = None,
        interrupted: Callable[[], None] | None = None,
        probe_interval: float = 3.0,
        buffer_size: int = 8 * 1024 * 1024,
        random: Random = _random,
        telemetry: Telemetry = SILENT,
    ) -> None:
        """`new_probe_channel` names a channel that nobody else uses, for each pair of connections.

        `interrupted` is called whenever a pair was lost or could not be made, and `moved` when a
        node of a cluster says that it does not serve a slot: what was published there may be
        lost, and nothing is heard. Without `moved` that is an error like any other. `random`
        draws the pauses.
        """
        self._address = address
        self._connector = connector
        self._timeout = connector.timeout
        self._probe_interval = probe_interval
        self._subscriptions = subscriptions
        self._subscriptions_changed = AutoResetEvent()
        self._new_probe_channel = new_probe_channel
        self._moved = moved
        self._interrupted = interrupted
        self._send_buffer = SendBuffer(buffer_size)
        self._send_buffer_filled = AutoResetEvent()
        self._unconfirmed = UnconfirmedRooms()
        self._health = Health()
        self._random = random
        self._telemetry = telemetry

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        if self._send_buffer.put(self._subscriptions.publish_command(room_id, entries)):
            self._unconfirmed.add_sent(room_id)
            self._telemetry.published(len(entries))
            self._send_buffer_filled.set()
        else:
            self._unconfirmed.add_dropped(room_id)
            self._telemetry.lost(len(entries))

    def publish_looks(self, room_ids: Collection[RoomId]) -> None:
        """Tell every process that subscribes to one of the rooms to look at it. Never waits."""
        self._telemetry.bus_repaired(len(room_ids))
        # Sorted, so that a simulation repeats exactly.
        for room_id in sorted(room_ids):
            self.publish(room_id, ())

    def subscribe(self, room_id: RoomId) -> None:
        self._subscriptions.add(room_id)
        self._subscriptions_changed.set()

    def unsubscribe(self, room_id: RoomId) -> None:
        self._subscriptions.discard(room_id)
        self._subscriptions_changed.set()

    def take_unconfirmed(self, chosen: Callable[[RoomId], bool]) -> set[RoomId]:
        """Forget and return the chosen rooms with publications that Redis may not have."""
        return self._unconfirmed.take(chosen)

    @property
    def working(self) -> bool:
        """Whether `check` passes."""
        return self._health.working

    def check(self) -> None:
        self._health.check()

    async def run(self, listener: Listener) -> None:
        """Carry messages until cancelled, reconnecting as needed.

        Cancelling closes both connections and drops what has not been sent.
        """
        self._health.set_pending(f"connecting to {self._address}")
        backoff = _MIN_BACKOFF
        try:
            while True:
                began = trio.current_time()
                try:
                    await self._run_connected(listener)
                except* ConnectionFailedError as errors:
                    self._health.set_failed(_first_reason(errors))
                    self._telemetry.bus_interrupted()
                    if self._interrupted is not None:
                        self._interrupted()
                # Connections that are lost again at once do not reset the backoff: otherwise
                # they would be remade, and logged, twenty times a second.
                if trio.current_time() - began > 2 * self._timeout:
                    backoff = _MIN_BACKOFF
                # A random share, so that processes do not reconnect together.
                await trio.sleep(backoff * self._random.uniform(0.5, 1.0))
                backoff = min(2 * backoff, _MAX_BACKOFF)
        finally:
            self._health.set_pending("it is not running")

    async def _run_connected(self, listener: Listener) -> None:
        """Connect, and carry messages until a connection fails.

        Ends by raising ConnectionFailedError, alone or in a group.
        """
        connect = self._connector.connect
        if isinstance(self._address, Sentinels):
            server = await self._address.find_primary(connect)
        else:
            server = self._address
        async with (
            connect(server, b"sharechat-publisher") as publisher,
            connect(server, b"sharechat-subscriber") as subscriber,
        ):
            if isinstance(self._address, Sentinels):
                await check_role(publisher, server)
            probe = Probe()
            self._subscriptions.restart(self._new_probe_channel())
            self._subscriptions_changed.set()
            self._send_buffer.open()
            self.publish_looks(self._unconfirmed.take_all())
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive, subscriber, listener, probe)
                    nursery.start_soon(self._send_subscriptions, subscriber)
                    nursery.start_soon(self._send_publications, publisher)
                    nursery.start_soon(self._take_answers, publisher, probe)
                    nursery.start_soon(self._run_probe, probe)
            finally:
                self._send_buffer.close()

    async def _receive(self, subscriber: RedisConnection, listener: Listener, probe: Probe) -> None:
        while True:
            received = self._subscriptions.receive(await subscriber.receive())
            for room_id, entries in received.heard:
                self._telemetry.heard(len(entries))
                listener.heard(room_id, entries)
            if received.malformed:
                log.warning(
                    "queue payloads ignored",
                    reason="they are malformed",
                    room_ids=sorted(received.malformed),
                )
            if received.missed:
                listener.missed(received.missed)
            if received.probe_subscribed:
                probe.subscribed.set()
            for token in received.probe_tokens:
                probe.receive(token)
            for slot in received.moved:
                self._leave(slot)

    async def _send_subscriptions(self, subscriber: RedisConnection) -> None:
        while True:
            await self._subscriptions_changed.wait()
            while commands := self._subscriptions.next_commands():
                await subscriber.send(commands)

    async def _send_publications(self, publisher: RedisConnection) -> None:
        while True:
            await self._send_buffer_filled.wait()
            if commands := self._send_buffer.take():
                await publisher.send(commands)

    async def _take_answers(self, publisher: RedisConnection, probe: Probe) -> None:
        while True:
            replies: list[Any] = await publisher.receive()
            for reply in replies:
                slot = parse_moved(reply)
                if slot is not None:
                    self._leave(slot)
                elif isinstance(reply, hiredis.ReplyError):
                    raise ConnectionFailedError(f"Redis refused to publish: {reply}")
            probe.answer(len(replies))

    def _leave(self, slot: int) -> None:
        if self._moved is None:
            raise ConnectionFailedError(f"{self._address} serves a part of a cluster only")
        self._moved(slot)

    async def _run_probe(self, probe: Probe) -> None:
        await self._wait_in_time(probe.subscribed, "did not confirm a subscription")
        while True:
            probe.start_round(self._send_buffer.accepted + 1)
            sent_at = self._telemetry.clock()
            self._unconfirmed.probe_sent()
            self._send_buffer.put(self._subscriptions.probe_command(probe.token), urgent=True)
            self._send_buffer_filled.set()
            await self._wait_in_time(probe.returned, "did not send back the probe")
            self._telemetry.probe_returned(sent_at)
            self._unconfirmed.probe_returned()
            self.publish_looks(self._unconfirmed.take_dropped())
            self._health.set_working(self._send_buffer.take_dropped())
            await trio.sleep(self._probe_interval)

    async def _wait_in_time(self, event: trio.Event, fault: str) -> None:
        # In two halves: if this process itself was suspended, the first deadline has passed
        # when it resumes, and the second half leaves time to read what Redis has sent.
        for _ in range(2):
            with trio.move_on_after(self._timeout / 2):
                await event.wait()
                return
        raise ConnectionFailedError(f"{self._address} {fault} within {self._timeout:g} s")


def _first_reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
