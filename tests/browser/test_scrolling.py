"""What is in view as messages come, and what counts as new."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenRoom
from tests.harness.member import SyncMember
from tests.harness.page import in_log, log_of, say, texts_in
from tests.harness.page_server import PageServer

AT_TOP = """() => {
  const view = document.querySelector('#scroller');
  view.scrollTop = 0;
  const edge = view.getBoundingClientRect().top;
  const texts = [...document.querySelectorAll('.row .text')];
  const first = texts.find((text) => text.getBoundingClientRect().top >= edge);
  return [first.textContent, first.getBoundingClientRect().top];
}"""
"""Scrolls to the top. Returns the first text in view, and where it is."""

TOP_OF = """(text) => [...document.querySelectorAll('.row .text')]
  .find((row) => row.textContent === text)?.getBoundingClientRect().top"""

TO_END = """() => {
  const view = document.querySelector('#scroller');
  return view.scrollHeight - view.scrollTop - view.clientHeight;
}"""
"""How far the end is."""


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[PageServer]:
    """A server that lets one member say a lot."""
    server = PageServer("--message-rate", "0")
    server.start()
    yield server
    server.stop()


def fill(server: PageServer, room_id: str, count: int, first: int = 0) -> None:
    with SyncMember(server.url, room_id) as member:
        for number in range(first, first + count):
            member.say(f"message {number}")
        for _ in range(count):
            member.hear_chat()


def test_a_reader_who_has_scrolled_up_is_not_pulled_down(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    fill(server, room.id, 60)
    open_room(page, room.id)
    expect(log_of(page)).to_contain_text("message 59")
    page.locator("#scroller").hover()
    page.mouse.wheel(0, -600)
    expect(page.get_by_role("button", name="Latest")).to_be_hidden()
    page.wait_for_function(f"() => ({TO_END})() > 300")
    text, top = page.evaluate(AT_TOP.replace("view.scrollTop = 0;", ""))
    fill(server, room.id, 3, 60)
    button = page.get_by_role("button", name="3 new")
    expect(button).to_be_visible()
    assert abs(page.evaluate(TOP_OF, text) - top) < 1
    button.click()
    expect(log_of(page).get_by_text("message 62", exact=True)).to_be_in_viewport()
    expect(button).to_be_hidden()
    line = log_of(page).locator(".row", has=page.locator(".new"))
    expect(line).to_have_count(1)
    expect(line).to_contain_text("message 60")
    say(page, "an answer")
    expect(line).to_have_count(0)


def test_a_message_that_comes_while_one_starts_to_scroll_up_is_new(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    """The scroll event is sent in the next frame, after the message was heard."""
    page.add_init_script(
        """WebSocket = class extends WebSocket {
          constructor(...args) {
            super(...args);
            this.addEventListener('message', ({ data }) => {
              if (data.includes('message 60')) document.querySelector('#scroller').scrollTop = 0;
            });
          }
        }"""
    )
    room = server.make_room()
    fill(server, room.id, 60)
    open_room(page, room.id)
    expect(log_of(page)).to_contain_text("message 59")
    fill(server, room.id, 1, 60)
    page.get_by_role("button", name="1 new").click()
    expect(in_log(page, "message 60")).to_be_in_viewport()


def test_a_line_stands_where_one_left_off(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    fill(server, room.id, 30)
    open_room(page, room.id)
    expect(log_of(page)).to_contain_text("message 29")
    page.goto(server.url)
    fill(server, room.id, 5, 30)
    open_room(page, room.id)
    line = log_of(page).locator(".row", has=page.locator(".new"))
    expect(line).to_contain_text("message 30")
    expect(line.locator(".new")).to_be_in_viewport()


def test_a_button_leads_to_where_one_left_off_long_ago(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    fill(server, room.id, 30)
    open_room(page, room.id)
    expect(log_of(page)).to_contain_text("message 29")
    page.goto(server.url)
    fill(server, room.id, 700, 30)
    open_room(page, room.id)
    expect(log_of(page)).to_contain_text("message 729")
    page.get_by_role("button", name="New since your last visit").click()
    line = log_of(page).locator(".row", has=page.locator(".new"))
    expect(line).to_contain_text("message 30")
    expect(line.locator(".new")).to_be_in_viewport()
    page.get_by_role("button", name="Latest").click()
    expect(log_of(page).get_by_text("message 729", exact=True)).to_be_in_viewport()


def test_a_history_of_5000_messages_is_read_to_its_beginning_and_the_view_stays_steady(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    fill(server, room.id, 5_000)
    open_room(page, room.id)
    expect(log_of(page)).to_contain_text("message 4999")
    beginning = page.get_by_text("This is the beginning of the room.")
    most = 0
    for _ in range(200):
        text, top = page.evaluate(AT_TOP)
        if text == "message 0":
            break
        page.wait_for_function(
            "(text) => !document.querySelector('.row .text').textContent.endsWith(text)", arg=text
        )
        assert abs(page.evaluate(TOP_OF, text) - top) < 1.5, text
        most = max(most, page.locator(".row").count())
    expect(beginning).to_be_visible()
    assert most <= 650
    assert texts_in(page)[:100] == [f"message {number}" for number in range(100)]

    page.get_by_role("button", name="Latest").click()
    expect(log_of(page).get_by_text("message 4999", exact=True)).to_be_in_viewport()
    assert texts_in(page)[-90:] == [f"message {number}" for number in range(4_910, 5_000)]


# Several pages of the history may come and go between two looks from outside.
COLLECT_TEXTS = """() => {
    window.shown = new Set();
    const log = document.querySelector("[role=log]");
    const collect = () => {
        for (const text of log.querySelectorAll(".text")) shown.add(text.textContent);
    };
    new MutationObserver(collect).observe(log, {childList: true, subtree: true});
    collect();
}"""


def test_scrolling_down_again_leads_to_the_end_without_a_gap(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    fill(server, room.id, 1_500)
    open_room(page, room.id)
    expect(log_of(page)).to_contain_text("message 1499")
    page.evaluate(COLLECT_TEXTS)
    for key, last in (("Home", 0), ("End", 1_499)):
        for _ in range(100):
            page.locator("#scroller").press(key)
            page.wait_for_timeout(60)
            numbers = [int(text.split()[1]) for text in texts_in(page)]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            if last in numbers:
                break
    assert set(page.evaluate("[...shown]")) == {f"message {n}" for n in range(1_500)}
    page.locator("#scroller").press("End")
    page.wait_for_function(f"() => ({TO_END})() <= 2")
    fill(server, room.id, 1, 1_500)
    expect(log_of(page).get_by_text("message 1500", exact=True)).to_be_in_viewport()


def test_a_busy_room_keeps_few_messages_in_the_document(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    open_room(page, room.id)
    fill(server, room.id, 3_000)
    expect(log_of(page).get_by_text("message 2999", exact=True)).to_be_in_viewport()
    assert page.locator(".row").count() <= 600
    assert page.evaluate(TO_END) <= 2


def test_more_messages_than_a_window_holds_between_two_frames_are_followed_to_the_end(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    page.add_init_script(
        """const frame = requestAnimationFrame;
        requestAnimationFrame = (draw) => frame(function wait(time) {
          if (window.stuck) frame(wait);
          else draw(time);
        });
        window.heard = 0;
        WebSocket = class extends WebSocket {
          constructor(...args) {
            super(...args);
            this.addEventListener('message', () => window.heard++);
          }
        }"""
    )
    room = server.make_room()
    open_room(page, room.id)
    page.evaluate("window.stuck = true")
    fill(server, room.id, 2_500)
    page.wait_for_function("window.heard > 2_500")
    page.evaluate("window.stuck = false")
    expect(in_log(page, "message 2499")).to_be_in_viewport()
    fill(server, room.id, 1, 2_500)
    expect(in_log(page, "message 2500")).to_be_in_viewport()
    expect(page.get_by_role("button", name="Latest")).to_be_hidden()
