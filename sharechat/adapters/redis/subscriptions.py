"""Which channels to subscribe to and what messages mean, without any I/O."""

import secrets
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from sharechat.adapters.redis.protocol import ConnectionFailedError, pack
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry

_CHANNELS_PER_COMMAND = 1_000
"""Few enough for Redis to serve other clients between two commands."""

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
    probe_subscribed: bool
    """Whether the subscription to the probe's channel was confirmed."""


class Subscriptions:
    """The rooms that are wanted, the changes that Redis has not been told of, and the payloads.

    Adding a room always leads to a SUBSCRIBE, even if Redis may have the subscription
    already. Redis confirms each SUBSCRIBE, and a confirmation counts as a possible miss. So
    whatever was published between `discard` and `add` is never taken for heard.
    """

    def __init__(self, prefix: bytes, probe_channel: bytes) -> None:
        self._prefix = prefix
        self._probe_channel = probe_channel
        self._tag = secrets.token_bytes(_TAG_SIZE)
        self._wanted: dict[bytes, RoomId] = {}
        # A dict instead of a set because it keeps the order.
        self._changed: dict[bytes, None] = {}

    def publish_command(self, room_id: RoomId, entries: Sequence[Entry]) -> bytes:
        """Return the command that publishes `entries` to the other processes in the room.

        Without entries, it tells those processes to look at the room.
        """
        payload = self._tag + _encode(list(entries))
        return pack((b"PUBLISH", self._channel(room_id), payload))

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

    def restart(self) -> None:
        """Begin again on a new connection, which has no subscriptions yet."""
        self._changed = dict.fromkeys((self._probe_channel, *self._wanted))

    def next_commands(self) -> bytes:
        """Return the next commands to send; empty if Redis has been told of every change."""
        subscribe: list[bytes] = []
        unsubscribe: list[bytes] = []
        for channel in list(islice(self._changed, _CHANNELS_PER_COMMAND)):
            del self._changed[channel]
            wanted = channel in self._wanted or channel == self._probe_channel
            (subscribe if wanted else unsubscribe).append(channel)
        commands = b""
        if subscribe:
            commands += pack((b"SUBSCRIBE", *subscribe))
        if unsubscribe:
            commands += pack((b"UNSUBSCRIBE", *unsubscribe))
        return commands

    def receive(self, replies: list[Any]) -> Received:
        """Return what `replies` mean. Raises ConnectionFailedError if one is an error.

        Payloads for a room that is no longer wanted are dropped, and so are those that this
        process published itself: it had the entries before Redis did.
        """
        received = Received([], set(), set(), [], probe_subscribed=False)
        wanted, tag = self._wanted, self._tag
        for reply in replies:
            if not isinstance(reply, list):
                raise ConnectionFailedError(f"Redis refused a subscription: {reply}")
            kind, channel, content = reply
            room_id = wanted.get(channel)
            if kind == b"message":
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
            elif kind == b"subscribe":
                if room_id is not None:
                    received.missed.add(room_id)
                elif channel == self._probe_channel:
                    received = received._replace(probe_subscribed=True)
        received.missed.update(received.malformed)
        return received

    def _channel(self, room_id: RoomId) -> bytes:
        return self._prefix + room_id.encode()
