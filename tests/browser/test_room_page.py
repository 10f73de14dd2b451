"""What people see of a room."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import OpenRoom
from tests.harness.member import SyncMember
from tests.harness.page import log_of, say, texts_in
from tests.harness.page_server import PageServer

Join = Callable[..., SyncMember]

Hosts = list[Callable[[str], bool]]

NewPage = Callable[..., Page]

PHONES = (360, 320)
"""Widths in CSS pixels."""

SIDEWAYS = """() => [document.documentElement, ...document.querySelectorAll('body *')]
  .filter((element) => ['auto', 'scroll', 'visible'].includes(getComputedStyle(element).overflowX))
  .filter((element) => element.scrollWidth > element.clientWidth && element.clientWidth)
  .filter((element) => element.getBoundingClientRect().left + element.scrollWidth > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 80))"""
"""What is wider than the window."""

HIDE = """(hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, value: hidden });
  const state = hidden ? 'hidden' : 'visible';
  Object.defineProperty(document, 'visibilityState', { configurable: true, value: state });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
"""Makes the page believe that its tab is in the background."""


def test_two_pages_and_another_client_talk(
    new_page: NewPage, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    room = server.make_room()
    one, two = new_page(), new_page()
    open_room(one, room.id)
    open_room(two, room.id)
    other = join(room.id)
    say(one, "from one")
    expect(log_of(two)).to_contain_text("from one")
    say(two, "from two")
    expect(log_of(one)).to_contain_text("from two")
    other.say("from websocat")
    for page in (one, two):
        expect(log_of(page)).to_contain_text("from websocat")
        assert texts_in(page) == ["from one", "from two", "from websocat"]
    assert [other.hear_chat() for _ in range(3)] == ["from one", "from two", "from websocat"]


def test_ones_own_messages_are_marked_also_after_a_reload(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    room = server.make_room()
    open_room(page, room.id)
    say(page, "mine")
    expect(log_of(page)).to_contain_text("mine")
    join(room.id).say("not mine")
    for _ in range(2):
        rows = log_of(page).locator(".row", has=page.locator(".by"))
        expect(rows.filter(has_text="not mine").locator(".you")).to_have_count(0)
        own = rows.filter(has=page.get_by_text("mine", exact=True))
        expect(own.locator(".you")).to_have_count(1)
        page.reload()


def test_consecutive_messages_of_one_person_stand_under_one_name(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    room = server.make_room()
    ada, bob = join(room.id), join(room.id)
    open_room(page, room.id)
    for member, text in ((ada, "1"), (ada, "2"), (bob, "3"), (ada, "4")):
        member.say(text)
        expect(log_of(page).get_by_text(text, exact=True)).to_be_visible()
    expect(log_of(page).locator(".by .name")).to_have_text([ada.name, bob.name, ada.name])


def test_a_day_is_named_above_its_messages(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    days = ("2020-02-03", "2020-02-03", "2021-12-31")
    room = server.make_room()
    member = join(room.id)
    for text in ("long ago", "yesterday"):
        member.say(text)
        member.hear_chat()

    def age(route: Route) -> None:
        messages: list[dict[str, Any]] = route.fetch().json()
        for message, day in zip(messages, days, strict=False):
            message["sent"] = f"{day}T12:00:00Z"
        route.fulfill(json=messages)

    page.route("**/messages?*", age)
    open_room(page, room.id)
    headings = log_of(page).get_by_role("heading")
    expect(headings).to_have_count(3)
    assert headings.all_inner_texts()[:2] == ["Monday, 3 February 2020", "Friday, 31 December 2021"]
    hint = log_of(page).locator("time").last.get_attribute("title")
    assert re.search(r"\d{4} at \d\d:\d\d:\d\d", hint or "")


def test_many_joins_and_leaves_are_folded(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    room = server.make_room()
    open_room(page, room.id)
    members = [join(room.id) for _ in range(5)]
    members[0].leave()
    summary = log_of(page).get_by_text("6 joined, 1 left")
    expect(summary).to_be_visible()
    expect(log_of(page).get_by_text(members[4].name)).to_have_count(0)
    summary.click()
    expect(log_of(page).get_by_text(members[4].name)).to_be_visible()
    expect(log_of(page).locator(".notice")).to_have_count(1)


def test_who_is_here_follows_who_comes_and_goes(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    room = server.make_room()
    open_room(page, room.id)
    people = page.get_by_role("complementary")
    expect(people).to_contain_text("1 here")
    other = join(room.id)
    expect(people).to_contain_text("2 here")
    expect(people.get_by_role("listitem")).to_have_count(2)
    expect(people.get_by_role("listitem").first).to_contain_text("you")
    other.leave()
    expect(people).to_contain_text("1 here")


def test_a_text_that_is_too_long_stays_in_the_box(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    open_room(page, server.make_room().id)
    say(page, "ä" * 9_000)
    expect(page.get_by_role("alert").filter(has_text="The limit is 16384 bytes.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message")).to_have_value("ä" * 9_000)


def test_lines_links_and_code_are_shown_as_written(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    open_room(page, server.make_room().id)
    box = page.get_by_role("textbox", name="Message")
    box.press_sequentially("one")
    box.press("Shift+Enter")
    box.press_sequentially("  two `a  b` http://example.org/x.")
    box.press("Enter")
    text = log_of(page).locator(".text")
    expect(text).to_have_text("one\n  two a  b http://example.org/x.", use_inner_text=True)
    expect(text.locator("code")).to_have_text("a  b")
    link = text.get_by_role("link")
    expect(link).to_have_attribute("href", "http://example.org/x")
    expect(link).to_have_attribute("rel", "noopener noreferrer")


def test_title_and_icon_show_what_is_unread(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    room = server.make_room()
    open_room(page, room.id)
    expect(page).to_have_title(re.compile("^[A-Z].* · sharechat$"))
    page.evaluate(HIDE, True)
    other = join(room.id)
    other.say("one")
    other.say("two")
    expect(page).to_have_title(re.compile(r"^\(2\) "))
    expect(page.locator("#icon")).to_have_attribute("href", re.compile("^data:"))
    page.evaluate(HIDE, False)
    expect(page).to_have_title(re.compile(r"^[A-Z]"))
    expect(page.locator("#icon")).to_have_attribute("href", re.compile("icon.svg$"))
    expect(log_of(page).locator(".row", has=page.locator(".new"))).to_contain_text("one")


def test_there_are_notifications_only_for_whoever_asked_for_them(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    page.add_init_script(
        """window.told = [];
        window.Notification = class {
          static permission = 'default';
          static async requestPermission() { told.push('asked'); return 'granted'; }
          constructor(title, { body }) { told.push(body); }
        };"""
    )
    room = server.make_room()
    open_room(page, room.id)
    other = join(room.id)
    page.evaluate(HIDE, True)
    other.say("before")
    expect(page).to_have_title(re.compile(r"^\(1\) "))
    page.evaluate(HIDE, False)
    assert page.evaluate("told") == []
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Notify me").click()
    expect(page.get_by_role("button", name="Notify me")).to_have_attribute("aria-pressed", "true")
    page.evaluate(HIDE, True)
    other.say("after")
    page.wait_for_function("() => told.length === 2")
    assert page.evaluate("told") == ["asked", "after"]


@pytest.mark.parametrize("secure", [True, False])
def test_the_link_is_copied(
    page: Page, server: PageServer, allow_errors: Callable[[str], None], secure: bool
) -> None:
    allow_errors("Cross-Origin-Opener-Policy header has been ignored")
    room = server.make_room()
    base = server.url if secure else server.insecure_url
    if secure:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{base}/room/{room.id}")
    expect(log_of(page)).to_contain_text("joined")
    copy = page.get_by_role("button", name="Copy link")
    copy.click()
    expect(page.get_by_role("button", name="Copied")).to_be_focused()
    box = page.get_by_role("textbox", name="Message")
    box.press("Control+V")
    expect(box).to_have_value(f"{base}/room/{room.id}")
    expect(copy).to_be_visible()


def test_the_share_dialog_has_the_link_and_a_qr_code(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    room = server.make_room()
    open_room(page, room.id)
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Share the room…").click()
    dialog = page.get_by_role("dialog", name="Share the room")
    expect(dialog.get_by_role("textbox")).to_have_value(f"{server.url}/room/{room.id}")
    page.wait_for_function("() => document.querySelector('#qr').naturalWidth > 0")
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


@pytest.mark.parametrize("width", PHONES)
def test_nothing_is_wider_than_a_phone(
    new_page: NewPage, server: PageServer, open_room: OpenRoom, join: Join, width: int
) -> None:
    page = new_page(viewport={"width": width, "height": 640}, has_touch=True, is_mobile=True)
    page.goto(server.url)
    assert page.evaluate(SIDEWAYS) == []
    room = server.make_room()
    open_room(page, room.id)
    other = join(room.id)
    for text in ("w" * 3_000, "```\n" + "c" * 500 + "\n```", "https://example.org/" + "x" * 300):
        other.say(text)
    other.say("`" + "i" * 200 + "` end")
    expect(log_of(page)).to_contain_text("end")
    assert page.evaluate(SIDEWAYS) == []
    for opener in ("Copy link", "Send", "Menu"):
        expect(page.get_by_role("button", name=opener)).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="2 people").click()
    expect(page.get_by_role("complementary")).to_contain_text("2 here")
    assert page.evaluate(SIDEWAYS) == []
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Share the room…").click()
    expect(page.get_by_role("dialog")).to_be_in_viewport(ratio=1)
    assert page.evaluate(SIDEWAYS) == []
    assert page.evaluate("visualViewport.scale") == 1


def test_on_a_touch_screen_enter_begins_a_line(
    new_page: NewPage, server: PageServer, open_room: OpenRoom
) -> None:
    page = new_page(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    open_room(page, server.make_room().id)
    box = page.get_by_role("textbox", name="Message")
    box.press_sequentially("one")
    box.press("Enter")
    box.press_sequentially("two")
    expect(box).to_have_value("one\ntwo")
    page.get_by_role("button", name="Send").tap()
    expect(log_of(page).locator(".text")).to_have_text("one\ntwo", use_inner_text=True)
    expect(box).to_be_focused()
