"""Publications that may not have reached Redis: the subscribers are told to look at their rooms."""

import re
from functools import partial

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.adapters.redis import open_queue
from sharechat.adapters.redis.unconfirmed import UnconfirmedRooms
from sharechat.domain.ids import new_room_id
from tests.harness.deadline import eventually
from tests.harness.queues import make_entry, marker, new_room_ids, until_working
from tests.harness.redis import Proxy, RedisServer
from tests.harness.redis_queues import assert_hears_once, impatient_queue, running

rarely_probing = partial(open_queue, probe_interval=1000)
"""Makes a RedisQueue that sends a probe when it connects, and none while a test runs."""


def test_a_probe_that_returns_confirms_what_was_sent_before_it() -> None:
    before, both, after = new_room_ids(3)
    rooms = UnconfirmedRooms()
    rooms.add_sent(before)
    rooms.add_sent(both)
    rooms.probe_sent()
    rooms.add_sent(both)
    rooms.add_sent(after)
    rooms.probe_returned()
    assert rooms.take_all() == {both, after}


def test_after_a_connection_was_lost_all_that_is_unconfirmed_is_returned_once() -> None:
    probed, probed_again, sent, dropped = new_room_ids(4)
    rooms = UnconfirmedRooms()
    for room_id in (probed, probed_again):
        rooms.add_sent(room_id)
        rooms.probe_sent()
    rooms.add_sent(sent)
    rooms.add_dropped(dropped)
    assert rooms.take_all() == {probed, probed_again, sent, dropped}
    assert rooms.take_all() == rooms.take_dropped() == set()


def test_no_probe_confirms_what_was_dropped_which_is_returned_once() -> None:
    room_id = new_room_id()
    rooms = UnconfirmedRooms()
    rooms.add_dropped(room_id)
    rooms.probe_sent()
    rooms.probe_returned()
    assert rooms.take_dropped() == {room_id}
    assert rooms.take_dropped() == rooms.take_all() == set()


async def test_a_room_is_looked_at_if_the_connection_is_lost_before_a_probe_is_sent(
    server: RedisServer, nursery: trio.Nursery
) -> None:
    room_id, proxy = new_room_id(), Proxy()
    await nursery.start(proxy.run, server)
    publisher, queue = rarely_probing(proxy.url), rarely_probing(server.url)
    async with running(queue, room_id) as recorder, running(publisher):
        publisher.publish(room_id, marker(room_id))
        await recorder.has_heard(room_id, marker(room_id))
        proxy.drop()
        await recorder.has_missed(room_id)
        assert recorder.all_missed == [{room_id}]


async def test_a_room_is_looked_at_if_the_connection_is_lost_before_a_probe_returns(
    server: RedisServer, nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    room_id, proxy = new_room_id(), Proxy()
    await nursery.start(proxy.run, server)
    publisher = open_queue(proxy.url, probe_interval=100)
    async with running(rarely_probing(server.url), room_id) as recorder, running(publisher):
        publisher.publish(room_id, marker(room_id))
        await recorder.has_heard(room_id, marker(room_id))
        published = publications(server)
        proxy.swallows = True
        mock_clock.jump(100)
        await eventually(lambda: publications(server) == published + 1)  # The probe.
        proxy.swallows = False
        proxy.drop()
        await recorder.has_missed(room_id)
        assert recorder.all_missed == [{room_id}]


async def test_a_room_is_not_looked_at_if_a_probe_confirmed_what_was_published(
    server: RedisServer, nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    room_id, proxy = new_room_id(), Proxy()
    await nursery.start(proxy.run, server)
    publisher = open_queue(proxy.url, probe_interval=100)
    async with running(rarely_probing(server.url), room_id) as recorder, running(publisher):
        publisher.publish(room_id, marker(room_id))
        await recorder.has_heard(room_id, marker(room_id))
        published = publications(server)
        while publications(server) < published + 2:  # The second probe follows the first's return.
            mock_clock.jump(100)
            await wait_all_tasks_blocked(0.01)
        connections = proxy.connections
        proxy.drop()
        await eventually(lambda: proxy.connections == connections + 2)
        await until_working(publisher)
        entries = [make_entry(room_id)]
        publisher.publish(room_id, entries)
        await recorder.has_heard(room_id, entries)
        assert recorder.all_missed == []


def publications(server: RedisServer) -> int:
    """Return how many times PUBLISH has been called on the server."""
    found = re.search(r"cmdstat_publish:calls=(\d+)", server.ask("INFO", "commandstats"))
    assert found
    return int(found[1])


async def test_a_room_is_looked_at_after_a_publication_to_it_was_dropped(
    server: RedisServer,
) -> None:
    room_id = new_room_id()
    publisher = impatient_queue(server.url, buffer_size=2000)
    async with running(impatient_queue(server.url), room_id) as recorder, running(publisher):
        publisher.publish(room_id, [make_entry(room_id, text="x" * 2000)])
        await recorder.has_missed(room_id)
        assert recorder.all_heard == []
        await assert_hears_once(publisher, recorder, room_id)
