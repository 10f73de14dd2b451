"""The first page: making rooms, joining them, and going back to them."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Dialog, Page, Request, Route, expect

from tests.browser.conftest import OpenRoom
from tests.harness.browser import AWAY
from tests.harness.http import fetch
from tests.harness.page_server import PageServer

ID = "412a96da-ab75-4cb1-bd62-e7f494ae08db"


def new_room(page: Page, server: PageServer) -> str:
    """Make a room as people do, and return its id."""
    page.goto(server.url)
    page.get_by_role("button", name="New room").click()
    page.wait_for_url("**/room/*")
    expect(page.get_by_role("log")).to_contain_text("joined")
    return page.url.rpartition("/")[2]


def test_a_new_room_can_be_talked_in(page: Page, server: PageServer) -> None:
    room_id = new_room(page, server)
    name = fetch(f"{server.url}/api/room/{room_id}").json["roomName"]
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.get_by_text("Nobody has said anything yet.")).to_be_visible()
    page.get_by_role("textbox", name="Message").fill("hello")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text("hello")


def test_a_double_click_makes_one_room(page: Page, server: PageServer) -> None:
    made: list[Request] = []
    page.on("request", lambda request: made.append(request) if request.method == "POST" else None)
    page.goto(server.url)
    page.get_by_role("button", name="New room").dblclick()
    page.wait_for_url("**/room/*")
    assert len(made) == 1


def test_a_refusal_is_told_and_one_can_try_again(
    page: Page, server: PageServer, allow_errors: Callable[[str], None]
) -> None:
    allow_errors(AWAY)
    page.goto(server.url)
    problem = {"type": "tag:sharechat.dev,2026:full", "detail": "The server is full."}
    page.route("**/api/room", lambda route: route.fulfill(status=503, json=problem), times=1)
    page.get_by_role("button", name="New room").click()
    expect(page.get_by_role("alert").filter(has_text="The server is full.")).to_be_visible()
    page.get_by_role("button", name="New room").click()
    page.wait_for_url("**/room/*")


@pytest.mark.parametrize(
    "link",
    [
        ID,
        f"  https://chat.example/room/{ID}  ",
        f"http://chat.example/room/{ID}/?utm_source=mail#top",
        f"ws://chat.example/api/serve/{ID}",
        f"<https://chat.example/room/{ID}>",
        f"Join us: https://chat.example/room/{ID.upper()}.",
    ],
)
def test_a_pasted_link_leads_to_its_room(page: Page, server: PageServer, link: str) -> None:
    page.goto(server.url)
    page.route(f"**/room/{ID}", lambda route: route.fulfill(body="a room"))
    page.get_by_label("Join by link").fill(link)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{server.url}/room/{ID}")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", "Paste the link of a room first."),
        ("https://example.org/", "This is not the link of a room."),
    ],
)
def test_what_is_no_link_is_told(page: Page, server: PageServer, text: str, answer: str) -> None:
    page.goto(server.url)
    field = page.get_by_label("Join by link")
    field.fill(text)
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_role("alert").filter(has_text=answer)).to_be_visible()
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    field.press("a")
    expect(page.get_by_text(answer)).to_be_hidden()


def test_rooms_that_one_has_been_in_are_listed_in_this_browser_only(
    page: Page, new_page: Callable[..., Page], server: PageServer, open_room: OpenRoom
) -> None:
    own = new_room(page, server)
    other = server.make_room()
    open_room(page, other.id)
    names = [fetch(f"{server.url}/api/room/{id_}").json["roomName"] for id_ in (other.id, own)]
    page.goto(server.url)
    rooms = page.get_by_role("region", name="Your rooms").get_by_role("listitem")
    expect(rooms).to_have_count(2)
    for row, name in zip(rooms.all(), names, strict=True):
        expect(row).to_contain_text(name)
    expect(rooms.last).to_contain_text("made by you")
    rooms.last.get_by_role("link").click()
    page.wait_for_url(f"**/room/{own}")

    stranger = new_page()
    stranger.goto(server.url)
    expect(stranger.get_by_role("button", name="New room")).to_be_visible()
    expect(stranger.get_by_role("listitem")).to_have_count(0)


def test_a_room_is_removed_from_the_list_after_a_question_if_the_key_would_be_lost(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    new_room(page, server)
    open_room(page, server.make_room().id)
    page.goto(server.url)
    rooms = page.get_by_role("listitem")
    asked: list[str] = []

    def keep(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", keep)
    rooms.first.get_by_role("button").click()
    expect(rooms).to_have_count(1)
    expect(rooms.get_by_role("button")).to_be_focused()
    assert not asked
    rooms.get_by_role("button").click()
    expect(rooms).to_have_count(1)
    assert "key" in asked[0]


def test_who_made_a_room_can_delete_it(page: Page, server: PageServer) -> None:
    room_id = new_room(page, server)
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Delete the room…").click()
    dialog = page.get_by_role("dialog", name="Delete the room?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Delete the room…").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status").filter(has_text="The room has been deleted.")).to_be_visible()
    expect(page.get_by_role("textbox", name="Message")).to_be_hidden()
    expect(page.get_by_role("button", name="New room")).to_be_focused()
    assert fetch(f"{server.url}/api/room/{room_id}").status == 404
    page.get_by_role("button", name="New room").click()
    page.wait_for_url(lambda url: "/room/" in url and room_id not in url)


def test_a_failed_deletion_is_told_in_the_dialog(
    page: Page, server: PageServer, allow_errors: Callable[[str], None]
) -> None:
    allow_errors(AWAY)
    new_room(page, server)

    def refuse(route: Route) -> None:
        if route.request.method == "DELETE":
            route.abort()
        else:
            route.fallback()

    page.route("**/api/room/*", refuse)
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("button", name="Delete the room…").click()
    dialog = page.get_by_role("dialog", name="Delete the room?")
    dialog.get_by_role("button", name="Delete").click()
    expect(dialog.get_by_role("alert")).to_have_text("The server cannot be reached.")


def test_who_did_not_make_a_room_is_not_offered_to_delete_it(
    page: Page, server: PageServer, open_room: OpenRoom
) -> None:
    open_room(page, server.make_room().id)
    page.get_by_role("button", name="Menu").click()
    expect(page.get_by_role("button", name="Share the room…")).to_be_visible()
    expect(page.get_by_role("button", name="Delete the room…")).to_be_hidden()


@pytest.mark.parametrize("path", [f"/room/{ID}", "/room/nonsense", "/room/412a96da"])
def test_a_link_to_no_room_says_so_and_offers_a_new_one(
    page: Page, server: PageServer, allow_errors: Callable[[str], None], path: str
) -> None:
    allow_errors(AWAY)
    page.goto(server.url + path)
    expect(page.get_by_role("heading", level=1)).to_have_text("No room")
    expect(page.get_by_role("status").filter(has_text="room")).to_be_visible()
    page.get_by_role("button", name="New room").click()
    page.wait_for_url(lambda url: "/room/" in url and not url.endswith(path))
    expect(page.get_by_role("log")).to_contain_text("joined")
