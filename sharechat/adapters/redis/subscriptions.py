"""What to say and what was heard: all that is decided about rooms, without any I/O."""

import secrets
from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from sharechat.adapters.redis.protocol import LostError, pack
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry

_AT_ONCE = 1_000
"""Channels in one command: few enough that Redis serves others in between."""

_TAG_SIZE = 8
"""Each payload begins with so many bytes that tell who published it."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode


class Received(NamedTuple):
    """What a run of replies comes down to."""

    heard: list[tuple[RoomId, list[Entry]]]
    missed: set[RoomId]
    """Rooms that are heard from now on, and those of `garbled`."""
    garbled: set[RoomId]
    """Rooms with a payload that could not be understood."""
    probes: list[bytes]
    probe_heard: bool
    """Whether the probe's channel is heard from now on."""


class Subscriptions:
    """Which rooms are wanted, which of them Redis is still to be told of, and their payloads.

    Every wish becomes a command, also where the channel may have been subscribed to already:
    Redis confirms it again, so what came between two wishes is never taken for heard.
    """

    def __init__(self, prefix: bytes, probe_channel: bytes) -> None:
        self._prefix = prefix
        self._probe_channel = probe_channel
        self._tag = secrets.token_bytes(_TAG_SIZE)
        self._wanted: dict[bytes, RoomId] = {}
        # A dict, for it keeps the order.
        self._changed: dict[bytes, None] = {}

    def publication(self, room_id: RoomId, entries: Sequence[Entry]) -> bytes:
        """Return the command that publishes `entries` to all others who want the room."""
        payload = self._tag + _encode(list(entries))
        return pack((b"PUBLISH", self._channel(room_id), payload))

    def add(self, room_id: RoomId) -> None:
        channel = self._channel(room_id)
        self._wanted[channel] = room_id
        self._changed[channel] = None

    def discard(self, room_id: RoomId) -> None:
        channel = self._channel(room_id)
        if self._wanted.pop(channel, None) is not None:
            self._changed[channel] = None

    def restart(self) -> None:
        """Start over on a new connection, on which nothing is subscribed to yet."""
        self._changed = dict.fromkeys((self._probe_channel, *self._wanted))

    def next_commands(self) -> bytes:
        """Return what is to be sent next; nothing if Redis has been told of everything."""
        subscribe: list[bytes] = []
        unsubscribe: list[bytes] = []
        for channel in list(islice(self._changed, _AT_ONCE)):
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
        """Return what `replies` say. Raises LostError if one is an error.

        What comes for a room that is no longer wanted is dropped, and so is what came from
        here: this process had it before Redis did.
        """
        received = Received([], set(), set(), [], probe_heard=False)
        wanted, tag = self._wanted, self._tag
        for reply in replies:
            if not isinstance(reply, list):
                raise LostError(f"Redis refused a subscription: {reply}")
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
                        received.garbled.add(room_id)
                elif channel == self._probe_channel:
                    received.probes.append(content)
            elif kind == b"subscribe":
                if room_id is not None:
                    received.missed.add(room_id)
                elif channel == self._probe_channel:
                    received = received._replace(probe_heard=True)
        received.missed.update(received.garbled)
        return received

    def _channel(self, room_id: RoomId) -> bytes:
        return self._prefix + room_id.encode()
