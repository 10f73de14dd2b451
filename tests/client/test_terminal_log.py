"""The model behind the screen: the order of messages, days, what is not stored, who is here."""

from datetime import UTC, datetime, timedelta

import pytest

from sharechat.client.terminal import log as log_module
from sharechat.client.terminal.log import Day, Heard, Item, Log, Own
from sharechat.client.terminal.people import People
from sharechat.domain.ids import MemberId, MessageId, RoomId
from sharechat.domain.messages import Identity, Message, MessageType

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def message(
    id_: str, *, days: int = 0, type_: MessageType = MessageType.CHAT, member: str = "m"
) -> Message:
    return Message(
        MessageId(id_),
        RoomId("room"),
        MemberId(member),
        f"Name of {member}",
        type_,
        f"text {id_}",
        NOON + timedelta(days=days),
    )


def shown(log: Log) -> list[str]:
    return [_shown(item) for item in log.items]


def _shown(item: Item) -> str:
    if isinstance(item, Day):
        return f"day {item.day.day}"
    if isinstance(item, Heard):
        return item.message.id
    if isinstance(item, Own):
        return f"{item.text}: {item.failure}" if item.failure else f"{item.text} …"
    return item.text


def test_each_day_begins_with_a_line() -> None:
    log = Log()
    for number, days in enumerate((0, 0, 1, 3)):
        log.hear(message(str(number), days=days))
    assert shown(log) == ["day 23", "0", "1", "day 24", "2", "day 26", "3"]


def test_older_messages_come_before_and_share_the_line_of_their_day() -> None:
    log = Log()
    log.hear(message("c", days=1))
    log.add_older([message("a"), message("b", days=1)])
    assert shown(log) == ["day 23", "a", "day 24", "b", "c"]
    assert log.first == message("a")
    log.add_older([message("0")])
    assert shown(log) == ["day 23", "0", "a", "day 24", "b", "c"]


def test_a_message_that_comes_twice_is_shown_once() -> None:
    log = Log()
    assert log.hear(message("a"))
    assert not log.hear(message("a"))
    log.add_older([message("a")])
    assert shown(log) == ["day 23", "a"]


def test_what_is_said_is_shown_last_until_it_is_stored_in_its_place() -> None:
    log = Log()
    first, second = log.say("first"), log.say("second")
    log.hear(message("a"))
    assert shown(log) == ["day 23", "a", "first …", "second …"]
    log.hear(message(first.id))
    log.hear(message("b"))
    assert shown(log) == ["day 23", "a", first.id, "b", "second …"]
    assert [item.mine for item in log.items if isinstance(item, Heard)] == [False, True, False]
    log.hear(message(second.id))
    assert shown(log)[-1] == second.id


def test_what_failed_says_why_and_can_be_repeated_under_the_same_id() -> None:
    log = Log()
    own = log.say("hello")
    log.fail(own.id, "Not now.")
    log.hear(message("a"))
    assert shown(log) == ["hello: Not now.", "day 23", "a"]
    (failed,) = log.failed
    again = log.repeat(failed)
    assert again.id == own.id
    assert log.failed == []
    assert shown(log) == ["day 23", "a", "hello …"]
    log.hear(message(own.id))
    log.fail(own.id, "Too late.")
    assert shown(log) == ["day 23", "a", own.id]


def test_what_failed_but_was_stored_after_all_is_no_longer_marked() -> None:
    log = Log()
    own = log.say("hello")
    log.fail(own.id, "Not in time.")
    log.hear(message(own.id))
    assert shown(log) == ["day 23", own.id]
    assert log.failed == []


def test_what_comes_while_the_reader_has_scrolled_back_is_counted() -> None:
    log = Log()
    log.hear(message("a"))
    assert log.unread == 0
    log.scrolled_back = True
    log.hear(message("b"))
    log.hear(message("b"))
    assert log.unread == 1
    log.read()
    assert log.unread == 0


def test_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "MAX_ITEMS", 3)
    log = Log()
    for number in range(5):
        log.hear(message(str(number)))
    assert shown(log) == ["2", "3", "4"]
    assert log.first == message("2")
    assert log.full
    log.add_older([message("1")])
    assert shown(log) == ["day 23", "1", "2", "3", "4"]
    log.hear(message("5"))
    assert shown(log) == ["3", "4", "5"]


def test_members_come_and_go() -> None:
    people = People()
    people.hear(message("1", type_=MessageType.JOINED, member="a"))
    people.hear(message("2", type_=MessageType.JOINED, member="b"))
    people.hear(message("3", type_=MessageType.LEFT, member="a"))
    assert people.names == {"b": "Name of b"}


def test_a_list_of_members_may_be_older_than_what_was_heard_meanwhile() -> None:
    people = People()
    people.hear(message("1", type_=MessageType.JOINED, member="new"))
    people.hear(message("2", type_=MessageType.LEFT, member="gone"))
    assert not people.complete
    people.add_list([Identity(MemberId(m), m) for m in ("old", "gone")])
    assert list(people.names) == ["old", "new"]
    assert people.complete
