"""What Subscriptions decides, without any I/O."""

import hiredis
import pytest

from sharechat.adapters.redis.protocol import ConnectionFailedError
from sharechat.adapters.redis.subscriptions import Subscriptions
from sharechat.domain.ids import RoomId, new_room_id
from sharechat.domain.messages import Entry
from tests.harness.queues import make_entry, new_room_ids


def decode(commands: bytes) -> list[list[bytes]]:
    """Return the words of each command."""
    reader = hiredis.Reader()
    reader.feed(commands)
    decoded = []
    while (command := reader.gets()) is not False:
        decoded.append(command)
    return decoded


def make_subscriptions() -> Subscriptions:
    subscriptions = Subscriptions(b"room:")
    subscriptions.restart(b"probe")
    subscriptions.next_commands()
    return subscriptions


def channel_of(room_id: RoomId) -> bytes:
    return b"room:" + room_id.encode()


def test_many_changes_become_one_command_of_each_kind() -> None:
    subscriptions, room_id = make_subscriptions(), new_room_id()
    subscriptions.add(room_id)
    subscriptions.restart(b"probe")
    first = decode(subscriptions.next_commands())
    assert first == [[b"SUBSCRIBE", b"probe", channel_of(room_id)]]
    assert subscriptions.next_commands() == b""
    others = new_room_ids(10)
    for other in others:
        subscriptions.add(other)
    subscriptions.discard(room_id)
    subscriptions.discard(others.pop())
    [subscribe, unsubscribe] = decode(subscriptions.next_commands())
    assert subscribe == [b"SUBSCRIBE", *map(channel_of, others)]
    assert unsubscribe[0] == b"UNSUBSCRIBE"
    assert channel_of(room_id) in unsubscribe


def test_one_command_names_a_thousand_channels_at_most() -> None:
    subscriptions = make_subscriptions()
    for room_id in new_room_ids(2_500):
        subscriptions.add(room_id)
    sizes = []
    while commands := subscriptions.next_commands():
        sizes += [len(command) - 1 for command in decode(commands)]
    assert sizes == [1_000, 1_000, 500]


def test_each_confirmation_counts_as_missed_while_the_room_is_wanted() -> None:
    subscriptions, room_id = make_subscriptions(), new_room_id()
    subscriptions.add(room_id)
    replies = [[b"subscribe", channel_of(room_id), 1], [b"subscribe", b"probe", 2]]
    received = subscriptions.receive(replies)
    assert received.missed == {room_id}
    assert received.probe_subscribed
    subscriptions.discard(room_id)
    assert subscriptions.receive([[b"subscribe", channel_of(room_id), 1]]).missed == set()


def test_a_refused_subscription_is_an_error() -> None:
    with pytest.raises(ConnectionFailedError, match="NOPERM"):
        make_subscriptions().receive([hiredis.ReplyError("NOPERM no channels for you")])


def test_only_what_other_processes_published_is_heard() -> None:
    one, two, room_id = make_subscriptions(), make_subscriptions(), new_room_id()
    one.add(room_id)
    two.add(room_id)
    entries: list[Entry] = [make_entry(room_id)]
    [[publish, channel, payload]] = decode(one.publish_command(room_id, entries))
    assert (publish, channel) == (b"PUBLISH", channel_of(room_id))
    message = [b"message", channel, payload]
    assert one.receive([message]).heard == []
    assert two.receive([message]).heard == [(room_id, entries)]
