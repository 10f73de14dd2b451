"""The page over a network, and servers, that come and go."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.browser.conftest import OpenRoom
from tests.harness.browser import AWAY
from tests.harness.deadline import DEADLINE
from tests.harness.member import SyncMember
from tests.harness.page import (
    HURRY,
    banner,
    expect_away,
    expect_back,
    expect_stored,
    in_log,
    say,
    wait_for,
)
from tests.harness.page_server import PageServer

Allow = Callable[[str], None]

SOON = 5_000
"""Milliseconds within which the page is back if it need not wait for its pause to end."""

UNLUCKY = "Math.random = () => 40"
"""Makes the first pause as long as one ever is: 20 s."""


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
    page.context.add_init_script(HURRY)
    allow_errors(AWAY)
    room = server.make_room()
    open_room(page, room.id)
    server.kill()
    server.start()
    expect(banner(page)).to_contain_text("This room does not exist.", timeout=2_000 * DEADLINE)


def test_a_full_server_says_so_and_lets_the_page_in_later(
    page: Page, our_hosts: list[Callable[[str], bool]]
) -> None:
    page.context.add_init_script(HURRY)
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


def test_a_page_of_a_proxy_does_not_say_that_the_room_is_gone(
    page: Page, server: PageServer, open_room: OpenRoom, allow_errors: Allow
) -> None:
    page.context.add_init_script(HURRY)
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
