"""Payloads on a RedisQueue's channels that it must not deliver."""

from structlog.testing import capture_logs

from sharechat.domain.ids import new_room_id
from tests.harness.queues import make_entry, marker, new_room_ids
from tests.harness.redis import RedisServer
from tests.harness.redis_queues import assert_hears_once, impatient_queue, running


async def test_a_malformed_payload_counts_as_missed_and_is_logged(server: RedisServer) -> None:
    room_id = new_room_id()
    publisher, queue = impatient_queue(server.url), impatient_queue(server.url)
    channel = f"sharechat:0:room:{room_id}"
    with capture_logs() as logs:
        async with running(publisher), running(queue, room_id) as recorder:
            for payload in ("longer than a tag and not msgpack", "?"):
                recorder.clear()
                server.ask("PUBLISH", channel, payload)
                await recorder.has_missed(room_id)
                assert recorder.all_heard == []
            await assert_hears_once(publisher, recorder, room_id)
    assert [(entry["log_level"], entry["room_ids"]) for entry in logs] == [
        ("warning", [room_id]),
        ("warning", [room_id]),
    ]


async def test_a_process_does_not_hear_what_it_published_itself(server: RedisServer) -> None:
    room_id, marker_id = new_room_ids(2)
    queue, other = impatient_queue(server.url), impatient_queue(server.url)
    async with running(queue, room_id, marker_id) as recorder, running(other, room_id) as others:
        queue.publish(room_id, [make_entry(room_id)])
        queue.publish(room_id, marker(room_id))
        await others.has_heard(room_id, marker(room_id))
        await assert_hears_once(other, recorder, marker_id)
