"""The Queue over Redis: the tasks that do the I/O."""

import secrets
import ssl
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from random import Random, SystemRandom

import structlog
import trio

from sharechat.adapters.redis.health import Health
from sharechat.adapters.redis.probe import Probe
from sharechat.adapters.redis.protocol import ConnectionFailedError, pack, raise_for_errors
from sharechat.adapters.redis.redis_connection import (
    OpenStream,
    RedisConnection,
    connect,
    open_stream,
)
from sharechat.adapters.redis.send_buffer import SendBuffer
from sharechat.adapters.redis.sentinel import Sentinels, check_role, parse_address
from sharechat.adapters.redis.subscriptions import Subscriptions
from sharechat.adapters.redis.unconfirmed import UnconfirmedRooms
from sharechat.adapters.redis.url import Endpoint
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener
from sharechat.domain.telemetry import SILENT, Level, Telemetry

log = structlog.get_logger()

_random = SystemRandom()

_MIN_BACKOFF = 0.05
"""Seconds to wait at most before the first attempt to reconnect; doubles with each attempt."""

_MAX_BACKOFF = 2.0
"""Seconds to wait at most before any attempt to reconnect."""


class RedisQueue:
    """The Queue over one Redis: one connection subscribes, another one publishes.

    With sentinels they are asked before each attempt to connect which server that is.

    Redis may vanish, freeze or lose a subscription without a sign of it. So every
    `probe_interval` seconds the Queue publishes a probe to a channel of its own. If the probe
    does not come back within `timeout` seconds, both connections are made anew; likewise if
    Redis does not answer within that time while connecting. What is published during an
    outage, or while `buffer_size` bytes wait to be sent, is dropped; afterwards, the
    subscribers of those rooms are told to look at them.
    """

    def __init__(
        self,
        url: str,
        *,
        probe_interval: float = 3.0,
        timeout: float = 3.0,
        buffer_size: int = 8 * 1024 * 1024,
        open_stream: OpenStream = open_stream,
        random: Random = _random,
        telemetry: Telemetry = SILENT,
    ) -> None:
        """Parse the URL without any I/O. Raises ValueError if it is not a valid Redis URL.

        `open_stream` and `random`, which draws the pauses, are for a simulated network.
        """
        self._address = address = parse_address(url)
        # How to connect; with sentinels, but for the host and the port.
        self._server = address.primary if isinstance(address, Sentinels) else address
        self._probe_interval = probe_interval
        self._timeout = timeout
        # All databases of one Redis share their channels, so the name has to tell them apart.
        prefix = f"sharechat:{self._server.database}:"
        self._probe_channel = f"{prefix}probe:{secrets.token_hex(16)}".encode()
        self._subscriptions = Subscriptions(f"{prefix}room:".encode(), self._probe_channel)
        self._subscriptions_changed = _AutoResetEvent()
        self._send_buffer = SendBuffer(buffer_size)
        self._send_buffer_filled = _AutoResetEvent()
        self._unconfirmed = UnconfirmedRooms()
        self._health = Health()
        self._tls_context: ssl.SSLContext | None = None
        self._open_stream = open_stream
        self._random = random
        self._telemetry = telemetry
        telemetry.watch(Level.BUS_UP, lambda: float(self._health.working))

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        self._publish(room_id, entries)

    def publish_look(self, room_id: RoomId) -> None:
        self._publish(room_id, ())

    def _publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        if self._send_buffer.put(self._subscriptions.publish_command(room_id, entries)):
            self._unconfirmed.add_sent(room_id)
            self._telemetry.published(len(entries))
            self._send_buffer_filled.set()
        else:
            self._unconfirmed.add_dropped(room_id)
            self._telemetry.lost(len(entries))

    def _publish_looks(self, room_ids: Collection[RoomId]) -> None:
        self._telemetry.bus_repaired(len(room_ids))
        # Sorted, so that a simulation repeats exactly.
        for room_id in sorted(room_ids):
            self.publish_look(room_id)

    def subscribe(self, room_id: RoomId) -> None:
        self._subscriptions.add(room_id)
        self._subscriptions_changed.set()

    def unsubscribe(self, room_id: RoomId) -> None:
        self._subscriptions.discard(room_id)
        self._subscriptions_changed.set()

    def check(self) -> None:
        self._health.check()

    async def run(
        self,
        listener: Listener,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Carry messages until cancelled, reconnecting as needed.

        Cancelling closes both connections and drops what has not been sent.
        """
        self._health.set_pending(f"connecting to {self._address}")
        task_status.started()
        backoff = _MIN_BACKOFF
        try:
            while True:
                began = trio.current_time()
                try:
                    await self._run_connected(listener)
                except* ConnectionFailedError as errors:
                    self._health.set_failed(_first_reason(errors))
                    self._telemetry.bus_interrupted()
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
        server = self._server
        if isinstance(self._address, Sentinels):
            server = await self._address.find_primary(self._connect)
        async with (
            self._connect(server, b"sharechat-publisher") as publisher,
            self._connect(server, b"sharechat-subscriber") as subscriber,
        ):
            if isinstance(self._address, Sentinels):
                await check_role(publisher, server)
            probe = Probe()
            self._subscriptions.restart()
            self._subscriptions_changed.set()
            self._send_buffer.open()
            self._publish_looks(self._unconfirmed.take_all())
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive, subscriber, listener, probe)
                    nursery.start_soon(self._send_subscriptions, subscriber)
                    nursery.start_soon(self._send_publications, publisher)
                    nursery.start_soon(self._check_replies, publisher)
                    nursery.start_soon(self._run_probe, probe)
            finally:
                self._send_buffer.close()

    def _connect(
        self, server: Endpoint, name: bytes
    ) -> AbstractAsyncContextManager[RedisConnection]:
        context = self._make_tls_context()
        return connect(server, name, context, self._timeout, self._open_stream)

    def _make_tls_context(self) -> ssl.SSLContext | None:
        # Not in __init__ because this reads files; once because it takes tens of milliseconds.
        if self._tls_context is None and self._server.tls is not None:
            try:
                self._tls_context = self._server.make_tls_context()
            except (OSError, ValueError) as error:
                reason = f"the ssl_ options of the URL cannot be used: {error}"
                raise ConnectionFailedError(reason) from error
        return self._tls_context

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

    async def _check_replies(self, publisher: RedisConnection) -> None:
        while True:
            raise_for_errors(await publisher.receive())

    async def _run_probe(self, probe: Probe) -> None:
        await self._wait_in_time(probe.subscribed, "did not confirm a subscription")
        while True:
            probe.start_round()
            sent_at = self._telemetry.clock()
            self._unconfirmed.probe_sent()
            command = pack((b"PUBLISH", self._probe_channel, probe.token))
            self._send_buffer.put(command, urgent=True)
            self._send_buffer_filled.set()
            await self._wait_in_time(probe.returned, "did not send back the probe")
            self._telemetry.probe_returned(sent_at)
            self._unconfirmed.probe_returned()
            self._publish_looks(self._unconfirmed.take_dropped())
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


class _AutoResetEvent:
    """An event for one waiting task that is unset again when `wait` returns."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Wait until `set` is called, unless it was called since the last `wait`."""
        await self._event.wait()
        self._event = trio.Event()


def _first_reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
