"""What the actors tell of what happens, as a scrape shows it."""

from dataclasses import replace

import trio
from trio.testing import MockClock

from sharechat.actors.policy import Policy
from sharechat.adapters.prometheus import PrometheusTelemetry
from sharechat.bootstrap import open_stores
from sharechat.config import Settings
from sharechat.domain import ids
from sharechat.domain.messages import RoomInfo, to_json
from sharechat.domain.subprotocols import SharechatV1
from tests.harness.connection import BUFFER
from tests.harness.house import UNLIMITED, Node, open_house
from tests.harness.metrics import counted
from tests.harness.waiting import until
from tests.unit.test_room import ALONE, local_and_remote_member


def deliveries(node: Node) -> float:
    return counted(node.telemetry, "sharechat_deliveries_total")


async def test_each_message_counts_once_and_once_for_each_member_that_is_sent_it(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        members = [await house.join(room) for _ in range(3)]
        for number in range(5):
            members[0].says(str(number))
        for member in members:
            await member.hears("4")
        node = house.nodes[0]
        received = [message for member in members for message in member.received]
        assert deliveries(node) == len(received)
        size = counted(node.telemetry, "sharechat_delivered_bytes_total")
        assert size == sum(len(to_json(message)) for message in received)
        assert counted(node.telemetry, "sharechat_messages_stored_total") == 5
        assert counted(node.telemetry, "sharechat_commit_drafts_sum") == 3 + 5
        commits = counted(node.telemetry, "sharechat_commit_seconds_count")
        assert 0 < commits == counted(node.telemetry, "sharechat_commit_drafts_count")
        assert counted(node.telemetry, "sharechat_fan_out_seconds_count") > 0


async def test_members_and_rooms_are_those_that_are_there(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        telemetry = house.nodes[0].telemetry
        rooms = [await house.repository.make_room() for _ in range(2)]
        visits = [await house.visit(room) for room in (*rooms, rooms[0])]
        await until(lambda: counted(telemetry, "sharechat_members") == 3)
        assert counted(telemetry, "sharechat_rooms") == 2
        for visit in visits:
            await until(lambda visit=visit: bool(visit.connection.received))  # type: ignore[misc]
            visit.connection.hangs_up()
            await visit.ends()
        await until(lambda: counted(telemetry, "sharechat_rooms") == 0)
        assert counted(telemetry, "sharechat_members") == 0
        assert counted(telemetry, "sharechat_joins_total", resumed="false") == 3
        assert counted(telemetry, "sharechat_leaves_total") == 3


async def test_a_member_that_comes_back_counts_as_one_that_resumes_and_hears_what_it_missed(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        here = await house.join(room)
        here.says("1", "2")
        await here.hears("1", "2")
        before = deliveries(house.nodes[0])
        back = await house.visit(room, after=1)
        await back.connection.hears("1", "2")
        await until(lambda: len(back.connection.received) == 3)
        # The two old messages, and the `joined` that both hear.
        assert deliveries(house.nodes[0]) == before + 2 + 2
        telemetry = house.nodes[0].telemetry
        assert counted(telemetry, "sharechat_joins_total", resumed="true") == 1


async def test_a_member_that_reads_too_slowly_is_counted(autojump_clock: MockClock) -> None:
    policy = Policy(message_rate=0, max_waiting_bytes=BUFFER)
    async with open_house(policy=policy) as house:
        room = await house.repository.make_room()
        slow, other = await house.visit(room), await house.join(room)
        await until(lambda: bool(slow.connection.received))
        slow.connection.stalls()
        other.says(*(str(number) for number in range(100)))
        await slow.ends()
        assert counted(house.nodes[0].telemetry, "sharechat_slow_members_closed_total") == 1


async def test_messages_that_could_not_be_stored_are_counted_by_the_reason(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        telemetry = house.nodes[0].telemetry
        here = await house.join(room)
        visit = await house.visit(room, subprotocol=SharechatV1(1000))
        here.says("\0")
        visit.connection.says("no JSON")
        await until(
            lambda: counted(telemetry, "sharechat_messages_failed_total", kind="rejected") == 1
        )
        await until(
            lambda: counted(telemetry, "sharechat_messages_failed_total", kind="malformed") == 1
        )
        house.repository.away = True
        here.says("lost")
        await until(lambda: counted(telemetry, "sharechat_journal_waiting") == 1)
        await until(
            lambda: counted(telemetry, "sharechat_messages_failed_total", kind="not-stored") == 1
        )
        assert counted(telemetry, "sharechat_commit_failures_total") > 1
        house.repository.away = False
        await until(lambda: counted(telemetry, "sharechat_journal_waiting") == 0)


async def test_clients_who_wait_to_come_in_are_counted(autojump_clock: MockClock) -> None:
    async with open_house(policy=replace(UNLIMITED, arrivals_at_once=1)) as house:
        node = house.nodes[0]
        inside = await node.controller.arrivals.wait()
        assert counted(node.telemetry, "sharechat_arrivals_waiting") == 0
        for _ in range(2):
            house.nursery.start_soon(node.controller.arrivals.wait)
        await until(lambda: counted(node.telemetry, "sharechat_arrivals_waiting") == 2)
        inside.end()
        await until(lambda: counted(node.telemetry, "sharechat_arrivals_waiting") == 1)


async def test_what_a_room_reads_because_it_missed_it_is_counted(
    autojump_clock: MockClock,
) -> None:
    async with open_house(policy=ALONE) as house:
        here, there = await local_and_remote_member(house)
        telemetry = house.nodes[0].telemetry
        entries = await there.says("1", "2", "3")
        assert counted(telemetry, "sharechat_gaps_repaired_total") == 0
        house.nodes[0].hears(there.room_id, entries[-1])
        await here.hears("1", "2", "3")
        assert counted(telemetry, "sharechat_gaps_repaired_total") == 1
        # All three are read: the page begins where the gap does.
        assert counted(telemetry, "sharechat_gap_entries_repaired_total") == 3
        await trio.lowlevel.checkpoint()


async def test_what_fails_because_of_a_bug_is_counted_by_what_it_is(
    autojump_clock: MockClock,
) -> None:
    bug = RuntimeError("a bug")
    async with open_house() as house:
        node, (room, other_room) = (
            house.nodes[0],
            [await house.repository.make_room() for _ in "12"],
        )
        here, other = await house.join(room), await house.join(other_room)

        def failures(part: str) -> float:
            return counted(node.telemetry, "sharechat_failures_total", part=part)

        house.repository.poison = {"poison": bug}
        here.says("poison")
        await until(lambda: failures("message") == 1)
        here.raises = bug
        other_visit = await house.visit(room)
        await until(lambda: failures("member") == 1)
        await until(lambda: bool(other_visit.connection.received))
        house.repository.at_next("read", error=bug)
        node.controller.rooms.expect(room, 100)
        await until(lambda: failures("room") == 1)
        node.queue.raises = bug
        other.says("hello")
        await until(lambda: failures("actor") == 1)


async def test_how_much_of_the_memory_is_used_is_shown(autojump_clock: MockClock) -> None:
    telemetry = PrometheusTelemetry("0")
    settings = Settings(in_memory=True, max_memory=1 << 20)
    stores = open_stores(settings, telemetry)
    assert counted(telemetry, "sharechat_space_limit_bytes") == 1 << 20
    assert counted(telemetry, "sharechat_space_used_bytes") == 0
    room = RoomInfo(ids.new_room_id(), "Blue Door", 0)
    await stores.repository.create_room(room, b"")
    assert 0 < counted(telemetry, "sharechat_space_used_bytes") < 10_000
