"""`sharechat.v1`: a client chooses its messages' ids, and hears each of them acknowledged."""

import json
from uuid import uuid4

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from sharechat.actors.policy import Policy
from sharechat.domain.ids import MemberId, MessageId, RoomId
from sharechat.domain.messages import Identity, Message, MessageType, RoomInfo, to_json
from sharechat.domain.subprotocols import MalformedError, SharechatV1
from tests.harness.connection import FakeConnection
from tests.harness.house import House, RemoteMember, open_house
from tests.harness.waiting import until

V1 = SharechatV1(max_bytes=20)
ID = MessageId("0123abcd-0000-4000-8000-0123456789ab")


def frame(id_: object, message: object, **more: object) -> str:
    return json.dumps({"id": id_, "message": message, **more})


async def join(
    house: House, room: RoomId, node: int = 0, *, after: Message | None = None
) -> FakeConnection:
    seq = None if after is None else await house.repository.find(room, after.id)
    visit = await house.visit(room, node, after=seq, subprotocol=V1)
    await until(lambda: bool(visit.connection.received))
    return visit.connection


def test_a_frame_has_an_id_and_a_message() -> None:
    assert V1.read(frame(ID, "hello")) == (ID, "hello")
    assert V1.read(frame(ID.upper(), "")) == (ID, "")
    assert V1.read(frame(ID, "x" * 20)).text == "x" * 20


@pytest.mark.parametrize(
    ("text", "reason", "id_"),
    [
        ("hello", "This is not JSON.", None),
        ("", "This is not JSON.", None),
        ('{"id":', "This is not JSON.", None),
        ("[]", "This is not a JSON object.", None),
        ("null", "This is not a JSON object.", None),
        ('{"message": "x"}', 'The key "id" is missing.', None),
        (frame("x", "x"), 'The value of "id" is not a UUID.', None),
        (frame(5, "x"), 'The value of "id" is not a UUID.', None),
        (frame(None, "x"), 'The value of "id" is not a UUID.', None),
        (frame(ID.replace("-", ""), "x"), 'The value of "id" is not a UUID.', None),
        (json.dumps({"id": ID}), 'The key "message" is missing.', ID),
        (frame(ID, 5), 'The value of "message" is not a string.', ID),
        (frame(ID, None), 'The value of "message" is not a string.', ID),
        (frame(ID, "x", type="chat"), 'There are other keys than "id" and "message".', ID),
        (frame(ID, "é" * 11), "The message has more than 20 bytes.", ID),
    ],
)
def test_any_other_frame_is_refused_with_a_reason_and_its_id_if_it_has_one(
    text: str, reason: str, id_: str | None
) -> None:
    with pytest.raises(MalformedError) as caught:
        V1.read(text)
    assert (str(caught.value), caught.value.id) == (reason, id_)


def test_the_greeting_names_the_room_and_the_member() -> None:
    room, member = RoomInfo(RoomId(ID), "Quiet Harbour"), Identity(MemberId("m"), "Teal Creek")
    greeting = V1.greeting(room, member)
    assert json.loads(to_json(greeting)) == {
        "type": "welcome",
        "roomId": ID,
        "roomName": "Quiet Harbour",
        "memberId": "m",
        "memberName": "Teal Creek",
    }


async def test_a_member_is_greeted_before_it_hears_anything(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        first = await join(house, room)
        joined = first.received[0]
        back = await join(house, room, after=joined)
        for member, own in ((first, joined), (back, back.received[-1])):
            assert member.greeting is not None
            assert member.greeting.member_id == own.member_id


async def test_what_a_client_said_before_it_went_is_stored_although_it_cannot_be_greeted(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        connection = FakeConnection()
        connection.says(frame(ID, "hello"))
        connection.hangs_up()
        visit = await house.visit(room, connection=connection, subprotocol=V1)
        await visit.ends()
        await house.stop()
        types = [message.type for message in await house.repository.log(room)]
        assert types == [MessageType.JOINED, MessageType.CHAT, MessageType.LEFT]


async def test_a_message_is_stored_under_the_id_that_its_client_chose(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member = await join(house, room)
        member.says(frame(ID, "hello"))
        await member.hears("hello")
        assert member.received[-1].id == ID
        assert (await house.repository.log(room))[-1] == member.received[-1]


async def test_what_cannot_be_read_fails_and_the_member_stays(autojump_clock: MockClock) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member, other = await join(house, room), await join(house, room)
        member.says("hello", frame(ID, 5), frame(ID, "now"))
        await member.hears("now")
        failures = [m for m in member.received if m.type is MessageType.FAILED]
        assert [m.text for m in failures] == [
            "This is not JSON.",
            'The value of "message" is not a string.',
        ]
        assert failures[0].id != ID
        assert failures[1].id == ID
        await other.hears("now")
        assert [m.text for m in other.received[1:]] == ["now"]


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_message_said_again_after_a_lost_connection_is_stored_once(
    processes: int, autojump_clock: MockClock
) -> None:
    """The client comes back as another member, on another process if there is one."""
    async with open_house(nodes=processes) as house:
        room = await house.repository.make_room()
        other = await join(house, room)
        lost = await join(house, room)
        joined = lost.received[-1]
        lost.stalls()
        lost.says(frame(ID, "hello"))
        await other.hears("hello")
        lost.hangs_up()
        back = await join(house, room, processes - 1, after=joined)
        back.says(frame(ID, "hello"))
        await back.hears("hello", "hello")
        stored = [m for m in await house.repository.log(room) if m.id == ID]
        # It heard the message in its place in the log, and again as the answer.
        assert [m for m in back.received if m.id == ID] == stored * 2
        await wait_all_tasks_blocked()
        assert [m.id for m in other.received].count(ID) == 1


async def test_a_message_said_twice_is_answered_twice_and_others_hear_it_once(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member, other = await join(house, room), await join(house, room)
        member.says(frame(ID, "hello"))
        await member.hears("hello")
        member.says(frame(ID, "something else"))
        await member.hears("hello", "hello")
        member.says(frame(str(uuid4()), "last"))
        await other.hears("last")
        assert [m.text for m in other.received[1:]] == ["hello", "last"]


async def test_a_newcomer_that_says_a_stored_message_again_is_answered(
    autojump_clock: MockClock,
) -> None:
    """It joins without `?after=`, so the message is before everything that it hears."""
    async with open_house() as house:
        room = await house.repository.make_room()
        first = await join(house, room)
        first.says(frame(ID, "hello"))
        await first.hears("hello")
        newcomer = await join(house, room)
        newcomer.says(frame(ID, "hello"))
        await newcomer.hears("hello")
        assert newcomer.received[-1] == first.received[1]


async def test_a_repeat_is_answered_although_the_room_has_yet_to_deliver_the_original(
    autojump_clock: MockClock,
) -> None:
    """A client that comes back with `?after=` may have heard more of the log than its room."""
    patient = Policy(message_rate=0, gap_patience=1000, follow_interval=10_000)
    async with open_house(policy=patient) as house:
        room = await house.repository.make_room()
        other = await house.join(room)
        there = RemoteMember(house.repository, room)
        await there.joins()
        said, last = await there.says("hello", "last")
        # The room hears the client's `joined`, and waits for the entries before it.
        back = await join(house, room, after=last.message)
        back.says(frame(said.message.id, "hello"))
        await back.hears("hello")
        assert back.received[-1] == said.message
        assert other.texts[1:] == []


async def test_the_answer_to_a_repeat_does_not_overtake_what_is_being_delivered(
    autojump_clock: MockClock,
) -> None:
    """The room has put the original in order, and has yet to deliver it."""
    one_at_a_time = Policy(message_rate=0, batch_bytes=1, follow_interval=1)
    async with open_house(policy=one_at_a_time) as house:
        room = await house.repository.make_room()
        member = await join(house, room)
        there = RemoteMember(house.repository, room)
        await there.joins()
        texts = [str(number) for number in range(200)]
        *_, last = await there.says(*texts)
        repeat = house.repository.at_next("append", hold=True)
        member.says(frame(last.message.id, "again"))
        await repeat.reached.wait()
        await member.hears("0")
        repeat.release()
        await member.hears("199")
        assert member.texts[2:] == texts


async def test_a_message_that_failed_may_be_said_again_with_the_same_id(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        room = await house.repository.make_room()
        member = await join(house, room)
        house.repository.away = True
        member.says(frame(ID, "hello"))
        await until(lambda: member.received[-1].type is MessageType.FAILED)
        assert member.received[-1].id == ID
        house.repository.away = False
        member.says(frame(ID, "hello"))
        await until(lambda: member.received[-1].type is MessageType.CHAT)
        assert [m.id for m in await house.repository.log(room)].count(ID) == 1
