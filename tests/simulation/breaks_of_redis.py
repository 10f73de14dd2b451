"""Faults in the adapter of Redis: see `breaks.py`."""

from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import trio

from sharechat.adapters.redis.link import Link
from sharechat.adapters.redis.probe import Probe
from sharechat.adapters.redis.protocol import pack
from sharechat.adapters.redis.send_buffer import SendBuffer
from sharechat.adapters.redis.subscriptions import Received, Subscriptions
from sharechat.adapters.redis.unconfirmed import UnconfirmedRooms
from sharechat.domain.ids import RoomId


def send_buffer_size() -> AbstractContextManager[object]:
    """The send buffer counts what it has handed out as if that still waited."""

    def take(self: SendBuffer) -> bytes:
        commands = b"".join(self._commands)
        self._commands.clear()
        return commands

    return mock.patch.object(SendBuffer, "take", take)


def lost_connection() -> AbstractContextManager[object]:
    """Nobody is told of what was on its way when a connection was lost."""
    return mock.patch.object(UnconfirmedRooms, "take_all", return_value=())


def dropped_publications() -> AbstractContextManager[object]:
    """Nobody is told of what was dropped because too much waited."""
    return mock.patch.object(UnconfirmedRooms, "take_dropped", return_value=())


def dropped_in_outage() -> AbstractContextManager[object]:
    """What is published while Redis is away is not counted as dropped."""

    def add_dropped(self: UnconfirmedRooms, room_id: RoomId) -> None:
        pass

    return mock.patch.object(UnconfirmedRooms, "add_dropped", add_dropped)


def early_confirmation() -> AbstractContextManager[object]:
    """What was sent before a probe counts as confirmed although the probe never came back."""

    def probe_sent(self: UnconfirmedRooms) -> None:
        self._sent.clear()

    return mock.patch.object(UnconfirmedRooms, "probe_sent", probe_sent)


def any_token() -> AbstractContextManager[object]:
    """Any message on the probe's channel counts as the probe."""

    def receive(self: Probe, token: bytes) -> None:
        self.returned.set()

    return mock.patch.object(Probe, "receive", receive)


def no_probe() -> AbstractContextManager[object]:
    """Nothing is done if the probe does not come back."""

    async def wait_in_time(self: Link, event: trio.Event, fault: str) -> None:
        await event.wait()

    return mock.patch.object(Link, "_wait_in_time", wait_in_time)


def silent_subscription() -> AbstractContextManager[object]:
    """A confirmed subscription is not taken for a possible miss."""
    receive = Subscriptions.receive

    def receive_messages(self: Subscriptions, replies: list[Any]) -> Received:
        received = receive(self, replies)
        messages = [r for r in replies if isinstance(r, list) and r[0] == b"message"]
        return received._replace(missed=receive(self, messages).missed)

    return mock.patch.object(Subscriptions, "receive", receive_messages)


def stale_unsubscribe() -> AbstractContextManager[object]:
    """A room that is subscribed to again is unsubscribed because it once was given up."""
    discard, next_commands = Subscriptions.discard, Subscriptions.next_commands
    given_up: dict[int, dict[bytes, None]] = {}

    def discard_for_good(self: Subscriptions, room_id: RoomId) -> None:
        discard(self, room_id)
        given_up.setdefault(id(self), {})[self._channel(room_id)] = None

    def next_commands_and_unsubscribe(self: Subscriptions) -> bytes:
        commands = next_commands(self)
        if channels := given_up.pop(id(self), {}):
            commands += pack((b"UNSUBSCRIBE", *channels))
        return commands

    return mock.patch.multiple(
        Subscriptions, discard=discard_for_good, next_commands=next_commands_and_unsubscribe
    )


def forgotten_subscriptions() -> AbstractContextManager[object]:
    """A new connection subscribes only to what has changed."""

    def restart(self: Subscriptions, probe_channel: bytes) -> None:
        self._probe_channel = probe_channel
        self._changed[probe_channel] = None

    return mock.patch.object(Subscriptions, "restart", restart)


def swallowed_look() -> AbstractContextManager[object]:
    """A publication without entries is not taken for a look."""
    receive = Subscriptions.receive

    def receive_entries(self: Subscriptions, replies: list[Any]) -> Received:
        received = receive(self, replies)
        confirmed = [r for r in replies if isinstance(r, list) and r[0] == b"subscribe"]
        missed = receive(self, confirmed).missed | received.malformed
        return received._replace(missed=missed)

    return mock.patch.object(Subscriptions, "receive", receive_entries)
