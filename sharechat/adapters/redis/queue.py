"""The Queue: the tasks that carry bytes between what decides and Redis."""

import secrets
import ssl
from collections.abc import Collection, Sequence
from random import SystemRandom

import structlog
import trio

from sharechat.adapters.redis.doubts import Doubts
from sharechat.adapters.redis.health import Health
from sharechat.adapters.redis.outbox import Outbox
from sharechat.adapters.redis.protocol import LostError, pack, raise_refusals
from sharechat.adapters.redis.redis_connection import Connection, connect
from sharechat.adapters.redis.subscriptions import Subscriptions
from sharechat.adapters.redis.url import parse_server
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.domain.ports import Listener

log = structlog.get_logger()

_random = SystemRandom()

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0


class RedisQueue:
    """The Queue port over one Redis: a connection that subscribes and one that publishes.

    Redis may vanish, freeze or lose a subscription at any time: a probe, published every
    `probe_interval` seconds to a channel of this Queue's own, has to come back within
    `timeout` seconds, and so has every answer to connecting; otherwise both connections
    are made anew. What is published meanwhile, or beyond `buffer_size` bytes that wait, is
    dropped; afterwards, whoever hears those rooms is told to look at them.
    """

    def __init__(
        self,
        url: str,
        *,
        probe_interval: float = 3.0,
        timeout: float = 3.0,
        buffer_size: int = 8 * 1024 * 1024,
    ) -> None:
        """Take the URL, and do nothing yet. Raises ValueError if it is none of a Redis."""
        self._server = parse_server(url)
        self._probe_interval = probe_interval
        self._timeout = timeout
        # Redis' channels are the same for all of its databases; these are not.
        prefix = f"sharechat:{self._server.database}:"
        self._probe_channel = f"{prefix}probe:{secrets.token_hex(16)}".encode()
        self._subscriptions = Subscriptions(f"{prefix}room:".encode(), self._probe_channel)
        self._subscriptions_wait = _Signal()
        self._outbox = Outbox(buffer_size)
        self._doubts = Doubts()
        self._outbox_waits = _Signal()
        self._health = Health()
        self._tls_context: ssl.SSLContext | None = None

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        self._publish(room_id, entries)

    def publish_look(self, room_id: RoomId) -> None:
        # On the wire that is a payload without entries.
        self._publish(room_id, ())

    def _publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        if self._outbox.put(self._subscriptions.publication(room_id, entries)):
            self._doubts.sent(room_id)
            self._outbox_waits.set()
        else:
            self._doubts.dropped(room_id)

    def _publish_looks(self, room_ids: Collection[RoomId]) -> None:
        """Make the others look at rooms for which something may not have reached them."""
        for room_id in room_ids:
            self.publish_look(room_id)

    def subscribe(self, room_id: RoomId) -> None:
        self._subscriptions.add(room_id)
        self._subscriptions_wait.set()

    def unsubscribe(self, room_id: RoomId) -> None:
        self._subscriptions.discard(room_id)
        self._subscriptions_wait.set()

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
        self._health.pending(f"connecting to {self._server}")
        task_status.started()
        longest_delay = _FIRST_DELAY
        try:
            while True:
                began = trio.current_time()
                try:
                    await self._serve(listener)
                except* LostError as losses:
                    self._health.lose(_reason(losses))
                # Not for connections that work but never for long: those would come and
                # go, and be logged, twenty times a second.
                if trio.current_time() - began > 2 * self._timeout:
                    longest_delay = _FIRST_DELAY
                # Anything up to the longest, so that the processes do not come all at once.
                await trio.sleep(_random.uniform(0, longest_delay))
                longest_delay = min(2 * longest_delay, _LONGEST_DELAY)
        finally:
            self._health.pending("it is not running")

    async def _serve(self, listener: Listener) -> None:
        """Connect and carry messages. Ends with LostErrors, alone or in a group."""
        context = self._make_tls_context()
        async with (
            connect(self._server, b"sharechat-publisher", context, self._timeout) as publisher,
            connect(self._server, b"sharechat-subscriber", context, self._timeout) as subscriber,
        ):
            probe = _Probe()
            self._subscriptions.restart()
            self._subscriptions_wait.set()
            self._outbox.open()
            self._publish_looks(self._doubts.take_all())
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._receive, subscriber, listener, probe)
                    nursery.start_soon(self._send_subscriptions, subscriber)
                    nursery.start_soon(self._send_published, publisher)
                    nursery.start_soon(self._receive_replies, publisher)
                    nursery.start_soon(self._probe, probe)
            finally:
                self._outbox.close()

    def _make_tls_context(self) -> ssl.SSLContext | None:
        # Here, because it reads files, and once, because it takes tens of milliseconds.
        if self._tls_context is None and self._server.tls is not None:
            try:
                self._tls_context = self._server.make_tls_context()
            except (OSError, ValueError) as error:
                raise LostError(f"the ssl_ options of the URL do not work: {error}") from error
        return self._tls_context

    async def _receive(self, subscriber: Connection, listener: Listener, probe: "_Probe") -> None:
        while True:
            received = self._subscriptions.receive(await subscriber.receive())
            for room_id, entries in received.heard:
                listener.heard(room_id, entries)
            if received.garbled:
                log.warning("queue payloads not understood", room_ids=sorted(received.garbled))
            if received.missed:
                listener.missed(received.missed)
            if received.probe_heard:
                probe.heard.set()
            for token in received.probes:
                probe.returned(token)

    async def _send_subscriptions(self, subscriber: Connection) -> None:
        while True:
            await self._subscriptions_wait.wait()
            while commands := self._subscriptions.next_commands():
                await subscriber.send(commands)

    async def _send_published(self, publisher: Connection) -> None:
        while True:
            await self._outbox_waits.wait()
            if commands := self._outbox.take():
                await publisher.send(commands)

    async def _receive_replies(self, publisher: Connection) -> None:
        while True:
            raise_refusals(await publisher.receive())

    async def _probe(self, probe: "_Probe") -> None:
        await self._in_time(probe.heard, "did not confirm a subscription")
        while True:
            probe.leave()
            self._doubts.probe_sent()
            self._outbox.put(pack((b"PUBLISH", self._probe_channel, probe.token)), urgent=True)
            self._outbox_waits.set()
            await self._in_time(probe.back, "did not send back the probe")
            self._doubts.probe_returned()
            self._publish_looks(self._doubts.take_dropped())
            self._health.regain(self._outbox.take_dropped())
            await trio.sleep(self._probe_interval)

    async def _in_time(self, event: trio.Event, fault: str) -> None:
        # In two halves: when it is this process that stood still, the first is over at
        # once, and during the second what Redis has long sent is read.
        for _ in range(2):
            with trio.move_on_after(self._timeout / 2):
                await event.wait()
                return
        raise LostError(f"{self._server} {fault} within {self._timeout:g} s")


class _Probe:
    """What one pair of connections has shown: that it subscribes, that the probe comes back."""

    def __init__(self) -> None:
        self.heard = trio.Event()
        """The probe's channel is heard."""
        self.leave()

    def leave(self) -> None:
        """Begin a new round."""
        self.token = secrets.token_bytes(8)
        self.back = trio.Event()

    def returned(self, token: bytes) -> None:
        if token == self.token:
            self.back.set()


class _Signal:
    """Wakes the one task that waits, or that will: a trio.Event for use again and again."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Wait for `set`, and unset it."""
        await self._event.wait()
        self._event = trio.Event()


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
