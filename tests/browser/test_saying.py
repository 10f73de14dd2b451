"""What somebody writes is stored once and in order, whatever happens to servers and tabs."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Error, Page, WebSocketRoute, expect

from tests.browser.conftest import OpenRoom
from tests.harness.browser import AWAY
from tests.harness.page import (
    HURRY,
    banner,
    drafts,
    expect_away,
    expect_back,
    expect_stored,
    in_log,
    say,
    wait_for,
)
from tests.harness.page_server import PageServer

Allow = Callable[[str], None]

FILL = """() => {
  let text = 'x'.repeat(1 << 20);
  for (let i = 0; text.length > 0; i++) {
    try {
      localStorage.setItem(`other ${i}`, text);
    } catch {
      text = text.slice(text.length >> 1 || 1);
    }
  }
}"""


def test_what_is_written_while_the_server_is_away_is_stored_once_and_in_order(
    page: Page, lasting_server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
    page.context.add_init_script(HURRY)
    allow_errors(AWAY)
    server = lasting_server
    room = server.make_room()
    open_room(page, room.id, server.url)
    say(page, "before")
    expect(in_log(page, "before")).to_be_visible()
    server.kill()
    say(page, "one", "two", "three")
    expect(drafts(page)).to_have_count(3)
    expect_away(page)
    server.start()
    expect_stored(page, server.url, room.id, ["before", "one", "two", "three"])
    expect_back(page)


def test_what_is_written_offline_is_stored_once_and_in_order(
    page: Page, server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
    """A connection may survive being offline; so it is also lost, as it would be."""
    allow_errors(AWAY)
    room = server.make_room()
    sockets: list[WebSocketRoute] = []

    def pass_on(socket: WebSocketRoute) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    page.route_web_socket("**/api/serve/*", pass_on)
    open_room(page, room.id)
    page.context.set_offline(True)
    page.unroute_all()
    sockets[-1].close(code=1001)
    say(page, "one", "two")
    expect(banner(page)).to_contain_text("You are offline.")
    page.context.set_offline(False)
    expect_stored(page, server.url, room.id, ["one", "two"])
    expect_back(page)


def test_what_was_written_is_sent_after_a_reload(
    page: Page, lasting_server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
    page.context.add_init_script(HURRY)
    allow_errors(AWAY)
    server = lasting_server
    room = server.make_room()
    open_room(page, room.id, server.url)
    server.kill()
    say(page, "one", "two")
    with pytest.raises(Error):
        page.reload()
    server.start()
    page.goto(f"{server.url}/room/{room.id}")
    expect_stored(page, server.url, room.id, ["one", "two"])


def test_what_was_written_in_a_closed_tab_is_sent_by_the_next_one(
    page: Page, lasting_server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
    page.context.add_init_script(HURRY)
    allow_errors(AWAY)
    server = lasting_server
    room = server.make_room()
    open_room(page, room.id, server.url)
    server.kill()
    say(page, "one", "two")
    expect(drafts(page)).to_have_count(2)
    next_page = page.context.new_page()
    page.close()
    server.start()
    open_room(next_page, room.id, server.url)
    expect_stored(next_page, server.url, room.id, ["one", "two"])


def test_two_tabs_send_each_text_once(
    page: Page, lasting_server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
    page.context.add_init_script(HURRY)
    allow_errors(AWAY)
    server = lasting_server
    room = server.make_room()
    other = page.context.new_page()
    third = page.context.new_page()
    for each in (page, other, third):
        open_room(each, room.id, server.url)
    server.kill()
    say(page, "one")
    say(other, "two")
    say(third, "three")
    expect(drafts(page)).to_have_count(3)
    third.close()
    server.start()
    for each in (page, other):
        expect_stored(each, server.url, room.id, ["one", "two", "three"])


def test_a_lost_answer_is_no_reason_to_store_or_show_a_text_twice(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    """Each way of coming back: over a new connection, and in a page that is loaded again."""
    room = server.make_room()
    to_lose = ["one", "two"]

    def lose_answers(socket: WebSocketRoute) -> None:
        upstream = socket.connect_to_server()
        dead = False

        def down(frame: str | bytes) -> None:
            nonlocal dead
            if (text := json.loads(frame).get("message")) in to_lose:
                to_lose.remove(text)
                dead = True
            if not dead:
                socket.send(frame)

        upstream.on_message(down)

    page.route_web_socket("**/api/serve/*", lose_answers)
    open_room(page, room.id)
    say(page, "one")
    wait_for(page, lambda: to_lose == ["two"])
    expect(drafts(page)).to_have_count(1)
    page.evaluate("dispatchEvent(new Event('online'))")
    expect_stored(page, server.url, room.id, ["one"])
    say(page, "two")
    wait_for(page, lambda: not to_lose)
    page.reload()
    expect_stored(page, server.url, room.id, ["one", "two"])
    expect(page.locator("#to-unread")).to_be_hidden()


def test_a_text_that_could_not_be_stored_is_offered_again(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    refused: list[str] = []

    def refuse(socket: WebSocketRoute) -> None:
        upstream = socket.connect_to_server()

        def up(frame: str | bytes) -> None:
            said = json.loads(frame)
            if len(refused) < 2:
                refused.append(said["message"])
                failed = {"type": "failed", "message": "The rooms are away.", "id": said["id"]}
                who = {"roomId": room.id, "memberId": room.id, "memberName": "X"}
                socket.send(json.dumps({**failed, **who, "sent": "2026-01-01T00:00:00Z"}))
            else:
                upstream.send(frame)

        socket.on_message(up)

    page.route_web_socket("**/api/serve/*", refuse)
    open_room(page, room.id)
    say(page, "one", "two", "three")
    expect(drafts(page)).to_have_count(2)
    expect(drafts(page).first).to_contain_text("Not sent. The rooms are away.")
    page.reload()
    expect(drafts(page)).to_have_count(2)
    drafts(page).first.get_by_role("button", name="Try again").click()
    expect(drafts(page)).to_have_count(1)
    drafts(page).first.get_by_role("button", name="Discard").click()
    expect_stored(page, server.url, room.id, ["three", "one"])
    assert refused == ["one", "two"]


def test_without_space_in_the_browser_a_text_is_sent_all_the_same(
    page: Page, lasting_server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
    page.context.add_init_script(HURRY)
    allow_errors(AWAY)
    server = lasting_server
    room = server.make_room()
    open_room(page, room.id, server.url)
    page.evaluate(FILL)
    server.kill()
    say(page, "one")
    expect(drafts(page)).to_have_count(1)
    page.evaluate("localStorage.clear()")
    page.evaluate(FILL)
    server.start()
    expect_stored(page, server.url, room.id, ["one"])


def test_without_any_storage_the_page_works(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    forbid = "() => { throw new DOMException('forbidden', 'SecurityError'); }"
    page.add_init_script(
        f"for (const name of ['localStorage', 'sessionStorage'])"
        f" Object.defineProperty(window, name, {{ get: {forbid} }})"
    )
    room = server.make_room()
    open_room(page, room.id)
    say(page, "one")
    expect_stored(page, server.url, room.id, ["one"])
