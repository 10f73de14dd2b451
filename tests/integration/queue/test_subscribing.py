"""The contract of the Queue port: subscribing to rooms, and unsubscribing from them."""

import pytest
import trio

from sharechat.domain.ids import new_room_id
from tests.harness.queues import (
    MakeQueue,
    Recorder,
    make_entry,
    marker,
    new_room_ids,
    start_queue,
)


async def test_a_new_subscriber_is_told_that_it_missed_something_before_it_hears_the_room(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id = new_room_id()
    publisher, _ = await start_queue(nursery, make_queue)
    queue, recorder = await start_queue(nursery, make_queue)
    queue.subscribe(room_id)
    await recorder.has_missed(room_id)
    entries = [make_entry(room_id)]
    publisher.publish(room_id, entries)
    await recorder.has_heard(room_id, entries)


async def test_rooms_can_be_subscribed_to_before_the_queue_runs(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_ids = new_room_ids(5)
    queue, recorder = make_queue(), Recorder()
    for room_id in room_ids:
        queue.subscribe(room_id)
    await nursery.start(queue.run, recorder)
    await recorder.has_missed(*room_ids)


async def test_a_queue_can_hear_thousands_of_rooms(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_ids = new_room_ids(3_000)
    publisher, _ = await start_queue(nursery, make_queue)
    _, recorder = await start_queue(nursery, make_queue, *room_ids)
    for room_id in room_ids:
        publisher.publish(room_id, marker(room_id))
    for room_id in room_ids:
        await recorder.has_heard(room_id, marker(room_id))


async def test_an_unsubscribed_room_is_not_heard(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, marker_id = new_room_ids(2)
    publisher, _ = await start_queue(nursery, make_queue)
    queue, recorder = await start_queue(nursery, make_queue, room_id, marker_id)
    queue.unsubscribe(room_id)
    publisher.publish(room_id, [make_entry(room_id)])
    publisher.publish(marker_id, marker(marker_id))
    await recorder.has_heard(marker_id, marker(marker_id))
    assert recorder.all_heard == [(marker_id, marker(marker_id))]


async def test_what_is_on_its_way_when_a_room_is_unsubscribed_is_not_heard(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, marker_id = new_room_ids(2)
    publisher, _ = await start_queue(nursery, make_queue)
    queue, recorder = await start_queue(nursery, make_queue, room_id, marker_id)
    publisher.publish(room_id, [make_entry(room_id)])
    queue.unsubscribe(room_id)
    heard_before = len(recorder.all_heard)
    publisher.publish(marker_id, marker(marker_id))
    await recorder.has_heard(marker_id, marker(marker_id))
    assert recorder.all_heard[heard_before:] == [(marker_id, marker(marker_id))]


async def test_unsubscribing_from_a_room_that_is_not_heard_does_nothing(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, unknown_id = new_room_ids(2)
    publisher, _ = await start_queue(nursery, make_queue)
    queue, recorder = await start_queue(nursery, make_queue, room_id)
    queue.unsubscribe(unknown_id)
    queue.unsubscribe(unknown_id)
    publisher.publish(room_id, marker(room_id))
    await recorder.has_heard(room_id, marker(room_id))


@pytest.mark.parametrize("unsubscription_arrives", [True, False])
async def test_after_subscribing_again_something_was_missed(
    make_queue: MakeQueue, nursery: trio.Nursery, unsubscription_arrives: bool
) -> None:
    room_id, marker_id = new_room_ids(2)
    publisher, _ = await start_queue(nursery, make_queue)
    queue, recorder = await start_queue(nursery, make_queue, room_id, marker_id)
    queue.unsubscribe(room_id)
    if unsubscription_arrives:
        publisher.publish(marker_id, marker(marker_id))
        await recorder.has_heard(marker_id, marker(marker_id))
    queue.subscribe(room_id)
    await recorder.has_missed(room_id)
    publisher.publish(room_id, marker(room_id))
    await recorder.has_heard(room_id, marker(room_id))


async def test_a_room_that_is_subscribed_to_and_unsubscribed_from_at_once_is_not_heard(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, marker_id = new_room_ids(2)
    publisher, _ = await start_queue(nursery, make_queue)
    queue, recorder = await start_queue(nursery, make_queue, marker_id)
    for _ in range(10):
        queue.subscribe(room_id)
        queue.unsubscribe(room_id)
    publisher.publish(room_id, [make_entry(room_id)])
    publisher.publish(marker_id, marker(marker_id))
    await recorder.has_heard(marker_id, marker(marker_id))
    assert recorder.all_heard == [(marker_id, marker(marker_id))]
