"""What somebody else chooses does no harm to the page, nor to what stands beside it."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, WebSocketRoute, expect

from tests.browser.conftest import OpenRoom
from tests.harness.member import SyncMember
from tests.harness.page_server import PageServer

Join = Callable[..., SyncMember]

MARKUP = (
    "<img src=x onerror=hacked=1>",
    "<script>hacked=1</script>",
    '"><svg onload=hacked=1>',
    "</textarea><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "javascript:hacked=1",
    "{{constructor.constructor('hacked=1')()}}",
    'https://example.org/"onmouseover="hacked=1',
    "`<img src=x onerror=hacked=1>`",
    "```\n<img src=x onerror=hacked=1>\n```",
)

ELEMENTS = (
    "iframe, object, embed, script:not([src]), [onerror], [onload], [onmouseover], img[src=x]"
)


def replace_fields(page: Page, text: str) -> None:
    """Put a text into every field that the page gets from the server and shows."""
    fields = ("roomName", "memberName", "name", "message")

    def evil(value: Any) -> Any:
        if isinstance(value, list):
            return [evil(item) for item in value]
        if isinstance(value, dict):
            return {name: text if name in fields else evil(item) for name, item in value.items()}
        return value

    def answer(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=evil(response.json()))

    def connect(socket: WebSocketRoute) -> None:
        upstream = socket.connect_to_server()
        upstream.on_message(lambda frame: socket.send(json.dumps(evil(json.loads(frame)))))

    page.route(re.compile("/api/room"), answer)
    page.route_web_socket(re.compile("/api/serve/"), connect)


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_any_field_is_shown_as_text(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join, text: str
) -> None:
    replace_fields(page, text)
    room = server.make_room()
    member = join(room.id)
    member.say("history")
    member.hear_chat()
    open_room(page, room.id)
    expect(page.locator(".row .text")).to_have_count(1)
    member.say("live")
    expect(page.locator(".row .text")).to_have_count(2)
    shown = re.sub(r"\s+", " ", text)
    expect(page.get_by_role("heading", level=1)).to_have_text(shown[:60])
    expect(page.locator(".by .name").first).to_have_text(shown[:60])
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Share the room…").click()
    for link in page.get_by_role("log").get_by_role("link").all():
        assert (link.get_attribute("href") or "").startswith("https://example.org/")
    assert page.locator(ELEMENTS).count() == 0
    page.goto(server.url)
    expect(page.get_by_role("listitem").locator("bdi")).to_have_text(shown[:60])
    assert page.locator(ELEMENTS).count() == 0
    assert page.evaluate("typeof hacked") == "undefined"


def test_only_http_links_become_links(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    room = server.make_room()
    member = join(room.id)
    open_room(page, room.id)
    member.say(
        "javascript:alert(1) data:text/html,x vbscript:x file:///etc ftp://x.org http://ok.org"
    )
    links = page.get_by_role("log").get_by_role("link")
    expect(links).to_have_count(1)
    expect(links).to_have_attribute("href", re.compile("^http://ok.org/?$"))
    expect(links).to_have_attribute("rel", "noopener noreferrer")
    expect(links).to_have_attribute("target", "_blank")


@pytest.mark.parametrize("control", ["\u202e", "\u2067", "\u202b", "\u2066\u202e"])
def test_bidi_controls_reorder_nothing_beside_them(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join, control: str
) -> None:
    replace_fields(page, f"{control}abc def")
    room = server.make_room()
    member = join(room.id)
    open_room(page, room.id)
    member.say("x")
    row = page.locator(".row:has(.text)")
    expect(row).to_have_count(1)
    name, time = row.locator(".name").bounding_box(), row.locator(".by time").bounding_box()
    assert name is not None
    assert time is not None
    assert name["x"] + name["width"] <= time["x"]
    expect(row.locator(".by time")).to_have_text(re.compile(r"^\d\d:\d\d$"))
    notice = page.locator(".notice").first.inner_text()
    assert notice.index("abc def") < notice.index("joined")


def test_a_text_of_16_kib_without_a_space_is_neither_wide_nor_endless(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    room = server.make_room()
    member = join(room.id)
    open_room(page, room.id)
    member.say("w" * 16_384)
    member.say("after")
    expect(page.get_by_role("log").get_by_text("after", exact=True)).to_be_in_viewport()
    row = page.locator(".row.long")
    size = row.bounding_box()
    assert size is not None
    assert size["height"] < 600
    assert page.locator("#scroller").evaluate("(view) => view.scrollWidth <= view.clientWidth")
    more = row.get_by_role("button", name="Show all")
    before = more.bounding_box()
    more.click()
    less = page.get_by_role("button", name="Show less")
    expect(less).to_be_focused()
    assert before is not None
    assert less.evaluate("(button) => button.closest('.row').offsetHeight") > 2_000


def test_500_combining_characters_paint_over_nothing(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    room = server.make_room()
    member = join(room.id)
    open_room(page, room.id)
    member.say("before")
    member.say("Z" + "\u0335\u0300\u0316" * 167 + " pile")
    member.say("after")
    rows = page.locator(".row:has(.text)")
    expect(rows).to_have_count(3)
    box = rows.nth(1).bounding_box()
    assert box is not None
    assert box["height"] < 40
    pile = rows.nth(1).locator(".text")
    pictures = []
    for visibility in ("visible", "hidden"):
        pile.evaluate("(text, value) => (text.style.visibility = value)", visibility)
        pictures.append((rows.nth(0).screenshot(), rows.nth(2).screenshot()))
    assert pictures[0] == pictures[1]


def test_a_name_of_combining_characters_and_one_without_end_stay_in_their_line(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    replace_fields(page, "N" + "\u0300" * 500 + "n" * 2_000)
    room = server.make_room()
    member = join(room.id)
    open_room(page, room.id)
    member.say("x")
    expect(page.locator(".row .text")).to_have_count(1)
    for selector in (".by", "header", "#people li"):
        # Not `bounding_box`, which is None if the page draws the element anew meanwhile.
        height = page.evaluate(
            "(selector) => document.querySelector(selector).getBoundingClientRect().height",
            selector,
        )
        assert 0 < height < 60
    width = "(() => document.documentElement.scrollWidth <= innerWidth)()"
    assert page.evaluate(width)
    assert page.locator("#scroller").evaluate("(view) => view.scrollWidth <= view.clientWidth")
