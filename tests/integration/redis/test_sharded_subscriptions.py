"""What Subscriptions decides on a node of a cluster, without any I/O."""

import hiredis
import pytest
from redis.crc import key_slot

from sharechat.adapters.redis.protocol import ConnectionFailedError
from sharechat.adapters.redis.pubsub import SHARDED
from sharechat.adapters.redis.subscriptions import Subscriptions
from sharechat.domain.ids import new_room_id
from sharechat.domain.messages import Entry
from tests.harness.queues import make_entry, new_room_ids
from tests.integration.redis.test_subscriptions import channel_of, decode


def make_subscriptions() -> Subscriptions:
    subscriptions = Subscriptions(b"room:", SHARDED)
    subscriptions.restart(b"probe")
    subscriptions.next_commands()
    return subscriptions


def test_each_channel_has_a_command_of_its_own() -> None:
    """The channels of one command would have to be in one slot."""
    subscriptions, rooms = make_subscriptions(), new_room_ids(3)
    for room in rooms:
        subscriptions.add(room)
    subscribing = decode(subscriptions.next_commands())
    assert subscribing == [[b"SSUBSCRIBE", channel_of(room)] for room in rooms]
    for room in rooms:
        subscriptions.discard(room)
    unsubscribing = decode(subscriptions.next_commands())
    assert unsubscribing == [[b"SUNSUBSCRIBE", channel_of(room)] for room in rooms]


def test_entries_are_published_to_and_heard_from_the_shard() -> None:
    here, there, room = make_subscriptions(), make_subscriptions(), new_room_id()
    there.add(room)
    entries: list[Entry] = [make_entry(room)]
    [[publish, channel, payload]] = decode(here.publish_command(room, entries))
    assert (publish, channel) == (b"SPUBLISH", channel_of(room))
    assert there.receive([[b"smessage", channel, payload]]).heard == [(room, entries)]
    assert there.receive([[b"ssubscribe", channel, 1]]).missed == {room}


def test_a_slot_that_another_node_serves_has_moved() -> None:
    received = make_subscriptions().receive([hiredis.ReplyError("MOVED 3999 127.0.0.1:6381")])
    assert received.moved == {3999}


def test_a_slot_whose_subscriptions_the_node_ends_has_moved() -> None:
    subscriptions, room = make_subscriptions(), new_room_id()
    subscriptions.add(room)
    ended = [[b"sunsubscribe", channel_of(room), 0], [b"sunsubscribe", b"probe", 0]]
    assert subscriptions.receive(ended).moved == {key_slot(channel_of(room)), key_slot(b"probe")}


def test_a_subscription_that_is_not_wanted_any_more_has_not_moved() -> None:
    subscriptions, room = make_subscriptions(), new_room_id()
    subscriptions.add(room)
    subscriptions.discard(room)
    assert not subscriptions.receive([[b"sunsubscribe", channel_of(room), 0]]).moved


def test_another_error_is_none_of_these() -> None:
    with pytest.raises(ConnectionFailedError, match="CLUSTERDOWN"):
        make_subscriptions().receive([hiredis.ReplyError("CLUSTERDOWN The cluster is down")])
