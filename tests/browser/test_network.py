"""The page over a network, and servers, that come and go."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Error, Locator, Page, Route, WebSocketRoute, expect

from tests.browser.conftest import OpenRoom
from tests.harness.browser import AWAY
from tests.harness.deadline import DEADLINE
from tests.harness.http import history, texts
from tests.harness.member import SyncMember
from tests.harness.page_server import PageServer

Allow = Callable[[str], None]

SOON = 5_000
"""Milliseconds within which the page is back if it need not wait for its pause to end."""

UNLUCKY = "Math.random = () => 40"
"""Makes the first pause as long as one ever is: 20 s."""

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


def say(page: Page, *words: str) -> None:
    for text in words:
        page.get_by_role("textbox", name="Message").fill(text)
        page.get_by_role("button", name="Send").click()


def in_log(page: Page, text: str) -> Locator:
    return page.get_by_role("log").get_by_text(text, exact=True)


def drafts(page: Page) -> Locator:
    return page.locator("#drafts .row")


def banner(page: Page) -> Locator:
    return page.locator("#banner")


def expect_stored(page: Page, base: str, room_id: str, expected: list[str]) -> None:
    """Wait until the room's chat is this, and is shown, each message once and none as a draft."""
    for _ in range(int(2 * DEADLINE / 0.1)):
        if texts(history(base, room_id)) == expected:
            break
        page.wait_for_timeout(100)
    assert texts(history(base, room_id)) == expected
    expect(drafts(page)).to_have_count(0)
    for text in expected:
        expect(in_log(page, text)).to_have_count(1)


def expect_away(page: Page) -> None:
    expect(banner(page)).to_contain_text("Reconnecting")


def expect_back(page: Page, within: float = 2_000 * DEADLINE) -> None:
    expect(page.locator("#banner.shown")).to_have_count(0, timeout=within)


def test_after_a_reload_the_log_goes_on(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    open_room(page, room.id)
    say(page, "one")
    expect_stored(page, server.url, room.id, ["one"])
    page.reload()
    say(page, "two")
    expect_stored(page, server.url, room.id, ["one", "two"])


def test_what_is_written_while_the_server_is_away_is_stored_once_and_in_order(
    page: Page, lasting_server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
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


def test_nothing_is_missed_and_nothing_comes_twice(
    page: Page,
    lasting_server: PageServer,
    open_room: OpenRoom,
    allow_errors: Allow,
) -> None:
    allow_errors(AWAY)
    server = lasting_server
    page.add_init_script(UNLUCKY)
    room = server.make_room()
    open_room(page, room.id, server.url)
    expected = []
    for turn in range(3):
        server.kill()
        expect_away(page)
        server.start()
        with SyncMember(server.url, room.id) as other:
            for number in range(3):
                other.say(f"{turn}.{number}")
                expected.append(other.hear_chat())
        page.get_by_role("button", name="Try now").click()
        expect_stored(page, server.url, room.id, expected)
    in_order = page.get_by_role("log").locator(".text").all_inner_texts()
    assert [text for text in in_order if text in expected] == expected


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


def wait_for(page: Page, holds: Callable[[], bool]) -> None:
    for _ in range(int(DEADLINE / 0.05)):
        if holds():
            return
        page.wait_for_timeout(50)
    raise TimeoutError


def test_a_room_that_is_deleted_under_the_page_is_said_to_be_gone(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    open_room(page, room.id)
    server.delete_room(room)
    expect(banner(page)).to_contain_text("The room has been deleted.")
    expect(page.get_by_role("textbox", name="Message")).to_have_count(0)
    banner(page).get_by_role("button", name="New room").click()
    page.wait_for_url(lambda url: "/room/" in url and room.id not in url)
    expect(page.get_by_role("textbox", name="Message")).to_be_visible()


def test_a_room_that_does_not_exist_is_said_to_be_gone(page: Page, server: PageServer) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{server.url}/room/00000000-0000-4000-8000-000000000000")
    expect(banner(page)).to_contain_text("This room does not exist.")
    page.wait_for_timeout(500)
    asked = len(requests)
    page.wait_for_timeout(1_500)
    assert len(requests) == asked


def test_a_server_that_forgot_the_room_says_so(
    page: Page, server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
    allow_errors(AWAY)
    room = server.make_room()
    open_room(page, room.id)
    server.kill()
    server.start()
    expect(banner(page)).to_contain_text("This room does not exist.", timeout=2_000 * DEADLINE)


def test_a_full_server_says_so_and_lets_the_page_in_later(
    page: Page, our_hosts: list[Callable[[str], bool]]
) -> None:
    server = PageServer("--max-members", "1")
    our_hosts.append(server.owns)
    server.start()
    try:
        room = server.make_room()
        with SyncMember(server.url, room.id):
            page.goto(f"{server.url}/room/{room.id}")
            expect(banner(page)).to_contain_text("The server is full.")
        say(page, "here at last")
        expect_stored(page, server.url, room.id, ["here at last"])
        page.close()
    finally:
        server.kill()


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


@pytest.mark.parametrize(
    "wake",
    ["dispatchEvent(new Event('online'))", "document.dispatchEvent(new Event('visibilitychange'))"],
    ids=["having a network", "being looked at"],
)
def test_the_page_is_back_at_once_on(
    page: Page, lasting_server: PageServer, open_room: OpenRoom, allow_errors: Allow, wake: str
) -> None:
    allow_errors(AWAY)
    server = lasting_server
    page.add_init_script(UNLUCKY)
    room = server.make_room()
    open_room(page, room.id, server.url)
    server.kill()
    expect_away(page)
    server.start()
    page.evaluate(wake)
    expect_back(page, within=SOON)


def test_without_space_in_the_browser_a_text_is_sent_all_the_same(
    page: Page, lasting_server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
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


def test_a_page_of_a_proxy_does_not_say_that_the_room_is_gone(
    page: Page, server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
    allow_errors(AWAY)
    room = server.make_room()
    with SyncMember(server.url, room.id) as other:
        other.say("before")
        other.hear_chat()
    answered: list[str] = []

    def not_found(route: Route) -> None:
        answered.append(route.request.url)
        route.fulfill(status=404, content_type="text/html", body="<h1>Not Found</h1>")

    page.route("**/api/room/**", not_found)
    page.goto(f"{server.url}/room/{room.id}")
    wait_for(page, lambda: any("/messages" in url for url in answered))
    page.unroute_all()
    expect(in_log(page, "before")).to_be_visible()
    expect_back(page)
    say(page, "after")
    expect_stored(page, server.url, room.id, ["before", "after"])


def test_a_server_that_does_not_know_the_last_message_is_joined_afresh(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    urls: list[str] = []

    def forget(socket: WebSocketRoute) -> None:
        urls.append(socket.url)
        if "after=" in socket.url:
            socket.close(code=4400, reason="No such message in the room.")
        else:
            socket.connect_to_server()

    page.route_web_socket("**/api/serve/*", forget)
    open_room(page, room.id)
    say(page, "one")
    expect_stored(page, server.url, room.id, ["one"])
    page.evaluate("dispatchEvent(new Event('online'))")
    say(page, "two")
    expect_stored(page, server.url, room.id, ["one", "two"])
    assert ["after=" in url for url in urls] == [False, True, False]
