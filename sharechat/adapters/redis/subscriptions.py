"""Which channels to subscribe to and what messages mean, without any I/O."""

import secrets
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from redis.crc import key_slot

from sharechat.adapters.redis.protocol import ConnectionFailedError, pack, parse_moved
from sharechat.adapters.redis.pubsub import CLASSIC, PubSub
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry

_CHANGES_AT_ONCE = 1_000
"""Channels whose commands `next_commands` returns at most."""

_TAG_SIZE = 8
"""Bytes at the start of each payload that identify the process that published it."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode


class Received(NamedTuple):
    """What a sequence of replies means."""

    heard: list[tuple[RoomId, list[Entry]]]
    missed: set[RoomId]
    """Rooms to look at: just subscribed to, published without entries, or in `malformed`."""
    malformed: set[RoomId]
    """Rooms with a payload that could not be decoded."""
    probe_tokens: list[bytes]
    moved: set[int]
    """Slots that this node of a cluster does not serve. Nothing of their channels is heard."""
    probe_subscribed: bool
    """Whether the subscription to the probe's channel was confirmed."""


class Subscriptions:
    """The rooms that are wanted, the changes that Redis has not been told of, and the payloads.

    Adding a room always leads to a SUBSCRIBE, even if Redis may have the subscription
    already. Redis confirms each SUBSCRIBE, and a confirmation counts as a possible miss. So
    whatever was published between `discard` and `add` is never taken for heard.

    A node of a cluster refuses subscriptions to channels of a slot that it does not serve, and
    ends those of a slot that it gives away.
    """

    def __init__(self, prefix: bytes, pubsub: PubSub = CLASSIC) -> None:
        self._prefix = prefix
        self._pubsub = pubsub
        self._probe_channel = b""
        self._tag = secrets.token_bytes(_TAG_SIZE)
        self._wanted: dict[bytes, RoomId] = {}
        # A dict instead of a set because it keeps the order.
        self._changed: dict[bytes, None] = {}

    def publish_command(self, room_id: RoomId, entries: Sequence[Entry]) -> bytes:
        """Return the command that publishes `entries` to the other processes in the room.

        Without entries, it tells those processes to look at the room.
        """
        payload = self._tag + _encode(list(entries))
        return pack((self._pubsub.publish, self._channel(room_id), payload))

    def probe_command(self, token: bytes) -> bytes:
        """Return the command that publishes `token` on the probe's channel."""
        return pack((self._pubsub.publish, self._probe_channel, token))

    def add(self, room_id: RoomId) -> None:
        """Want a room from now on."""
        channel = self._channel(room_id)
        self._wanted[channel] = room_id
        self._changed[channel] = None

    def discard(self, room_id: RoomId) -> None:
        """No longer want a room; does nothing if it was not wanted."""
        channel = self._channel(room_id)
        if self._wanted.pop(channel, None) is not None:
            self._changed[channel] = None

    def restart(self, probe_channel: bytes) -> None:
        """Begin again on a new connection, which has no subscriptions yet."""
        self._probe_channel = probe_channel
        self._changed = dict.fromkeys((probe_channel, *self._wanted))

    def next_commands(self) -> bytes:
        """Return the next commands to send; empty if Redis has been told of every change."""
        subscribe: list[bytes] = []
        unsubscribe: list[bytes] = []
        for channel in list(islice(self._changed, _CHANGES_AT_ONCE)):
            del self._changed[channel]
            (subscribe if self._wants(channel) else unsubscribe).append(channel)
        size = self._pubsub.channels_per_command
        return b"".join(
            pack((word, *channels[start : start + size]))
            for word, channels in (
                (self._pubsub.subscribe, subscribe),
                (self._pubsub.unsubscribe, unsubscribe),
            )
            for start in range(0, len(channels), size)
        )

    def receive(self, replies: list[Any]) -> Received:
        """Return what `replies` mean. Raises ConnectionFailedError if one is another error.

        Payloads for a room that is no longer wanted are dropped, and so are those that this
        process published itself: it had the entries before Redis did.
        """
        received = Received([], set(), set(), [], set(), probe_subscribed=False)
        wanted, tag = self._wanted, self._tag
        message, ended = self._pubsub.message, self._pubsub.ended
        subscribed = self._pubsub.subscribe.lower()
        for reply in replies:
            if not isinstance(reply, list):
                slot = parse_moved(reply)
                if slot is not None:
                    received.moved.add(slot)
                    continue
                raise ConnectionFailedError(f"Redis refused a subscription: {reply}")
            kind, channel, content = reply
            room_id = wanted.get(channel)
            if kind == message:
                if room_id is not None:
                    if content.startswith(tag):
                        continue
                    try:
                        entries = _decode(memoryview(content)[_TAG_SIZE:])
                        if entries:
                            received.heard.append((room_id, entries))
                        else:
                            received.missed.add(room_id)
                    except msgspec.DecodeError:
                        received.malformed.add(room_id)
                elif channel == self._probe_channel:
                    received.probe_tokens.append(content)
            elif kind == subscribed:
                if room_id is not None:
                    received.missed.add(room_id)
                elif channel == self._probe_channel:
                    received = received._replace(probe_subscribed=True)
            elif kind == ended and self._wants(channel):
                received.moved.add(key_slot(channel))
        received.missed.update(received.malformed)
        return received

    def _wants(self, channel: bytes) -> bool:
        return channel in self._wanted or channel == self._probe_channel

    def _channel(self, room_id: RoomId) -> bytes:
        return self._prefix + room_id.encode()
