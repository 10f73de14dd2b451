"""What a RedisQueue tells of what it carries and loses."""

import trio

from sharechat.adapters.prometheus import PrometheusTelemetry
from sharechat.domain.ids import new_room_id
from tests.harness.metrics import counted
from tests.harness.queues import make_entry
from tests.harness.redis import Proxy, RedisServer
from tests.harness.redis_queues import impatient_queue, running
from tests.harness.waiting import until


async def test_what_is_published_and_heard_is_counted_and_the_probe_is_timed(
    server: RedisServer,
) -> None:
    room_id, here, there = new_room_id(), PrometheusTelemetry("test"), PrometheusTelemetry("test")
    publisher = impatient_queue(server.url, telemetry=here)
    hearer = impatient_queue(server.url, telemetry=there)
    async with running(hearer, room_id) as recorder, running(publisher):
        assert counted(here, "sharechat_bus_up") == 1
        entries = [make_entry(room_id, seq) for seq in (1, 2, 3)]
        publisher.publish(room_id, entries)
        await recorder.has_heard(room_id, entries)
        assert counted(here, "sharechat_bus_published_total") == 3
        assert counted(there, "sharechat_bus_heard_total") == 3
        await until(lambda: counted(here, "sharechat_bus_probe_seconds_count") >= 2)
        assert counted(here, "sharechat_bus_lost_total") == 0
    assert counted(here, "sharechat_bus_up") == 0


async def test_what_is_lost_is_counted_and_so_are_the_rooms_that_others_look_at_instead(
    server: RedisServer, nursery: trio.Nursery
) -> None:
    room_id, telemetry, proxy = new_room_id(), PrometheusTelemetry("test"), Proxy()
    await nursery.start(proxy.run, server)
    publisher = impatient_queue(proxy.url, telemetry=telemetry, buffer_size=2000)
    async with running(impatient_queue(server.url), room_id) as recorder, running(publisher):
        publisher.publish(room_id, [make_entry(room_id, text="x" * 2000)])
        await recorder.has_missed(room_id)
        assert counted(telemetry, "sharechat_bus_lost_total") == 1
        assert counted(telemetry, "sharechat_bus_repaired_total") == 1
        proxy.drop()
        await until(lambda: counted(telemetry, "sharechat_bus_interruptions_total") == 1)
