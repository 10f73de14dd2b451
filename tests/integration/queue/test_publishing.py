"""The contract of the Queue port: what is published, and who hears it."""

import pytest
import trio

from sharechat.domain.ids import new_room_id
from tests.harness.deadline import DEADLINE
from tests.harness.queues import (
    MakeQueue,
    Recorder,
    make_entry,
    marker,
    new_room_ids,
    start_queue,
    until_working,
)


async def test_every_subscriber_hears_what_is_published(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id = new_room_id()
    publisher, _ = await start_queue(nursery, make_queue)
    _, one = await start_queue(nursery, make_queue, room_id)
    _, two = await start_queue(nursery, make_queue, room_id)
    entries = [make_entry(room_id, 1), make_entry(room_id, 2)]
    publisher.publish(room_id, entries)
    await one.has_heard(room_id, entries)
    await two.has_heard(room_id, entries)


async def test_subscribers_hear_each_other(make_queue: MakeQueue, nursery: trio.Nursery) -> None:
    room_id = new_room_id()
    one, heard_by_one = await start_queue(nursery, make_queue, room_id)
    two, heard_by_two = await start_queue(nursery, make_queue, room_id)
    entries = [make_entry(room_id, 1)], [make_entry(room_id, 2)]
    one.publish(room_id, entries[0])
    two.publish(room_id, entries[1])
    await heard_by_two.has_heard(room_id, entries[0])
    await heard_by_one.has_heard(room_id, entries[1])


@pytest.mark.parametrize(
    "text", ["", "Grüße, 世界 🎉", "a\x00b", "\r\n$3\r\n", "x" * 16_384], ids=len
)
async def test_an_entry_arrives_unchanged(
    make_queue: MakeQueue, nursery: trio.Nursery, text: str
) -> None:
    room_id = new_room_id()
    publisher, _ = await start_queue(nursery, make_queue)
    _, recorder = await start_queue(nursery, make_queue, room_id)
    entries = [make_entry(room_id, 2**53, text)]
    publisher.publish(room_id, entries)
    await recorder.has_heard(room_id, entries)


async def test_a_tuple_of_entries_can_be_published(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id = new_room_id()
    publisher, _ = await start_queue(nursery, make_queue)
    _, recorder = await start_queue(nursery, make_queue, room_id)
    entries = (make_entry(room_id),)
    publisher.publish(room_id, entries)
    await recorder.has_heard(room_id, entries)


async def test_a_look_makes_every_subscriber_miss_something(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, other_id = new_room_ids(2)
    publisher, _ = await start_queue(nursery, make_queue)
    _, one = await start_queue(nursery, make_queue, room_id, other_id)
    _, two = await start_queue(nursery, make_queue, room_id)
    publisher.publish_look(room_id)
    for recorder in (one, two):
        await recorder.has_missed(room_id)
        assert recorder.all_missed == [{room_id}]
        assert recorder.all_heard == []


async def test_a_subscriber_does_not_hear_other_rooms(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id, other_id = new_room_ids(2)
    publisher, _ = await start_queue(nursery, make_queue)
    _, recorder = await start_queue(nursery, make_queue, room_id)
    publisher.publish(other_id, [make_entry(other_id)])
    publisher.publish(room_id, marker(room_id))
    await recorder.has_heard(room_id, marker(room_id))
    assert recorder.all_heard == [(room_id, marker(room_id))]


async def test_what_is_published_before_the_queue_runs_is_heard_or_missed(
    make_queue: MakeQueue, nursery: trio.Nursery
) -> None:
    room_id = new_room_id()
    _, recorder = await start_queue(nursery, make_queue, room_id)
    publisher = make_queue()
    entries = [make_entry(room_id)]
    publisher.publish(room_id, entries)
    await nursery.start(publisher.run, Recorder())
    await until_working(publisher)
    publisher.publish(room_id, marker(room_id))
    await recorder.has_heard(room_id, marker(room_id))
    assert (room_id, entries) in recorder.all_heard or recorder.all_missed == [{room_id}]


@pytest.mark.parametrize("running", [True, False])
async def test_the_queue_still_works_after_100_mb_were_published_at_once(
    make_queue: MakeQueue, nursery: trio.Nursery, running: bool
) -> None:
    room_id, other_id = new_room_ids(2)
    publisher = make_queue()
    if running:
        await nursery.start(publisher.run, Recorder())
        await until_working(publisher)
    _, recorder = await start_queue(nursery, make_queue, other_id)
    entries = [make_entry(room_id, text="x" * 10_000)] * 100
    for _ in range(100):
        publisher.publish(room_id, entries)
    if not running:
        await nursery.start(publisher.run, Recorder())
    # The Queue may drop these too while its buffer is full.
    with trio.fail_after(DEADLINE):
        while not recorder.all_heard:
            publisher.publish(other_id, marker(other_id))
            await trio.sleep(0.01)
