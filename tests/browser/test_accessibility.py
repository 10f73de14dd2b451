"""The page for everyone: with a screen reader, a keyboard, in light and dark."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenRoom
from tests.harness.browser import AWAY
from tests.harness.http import fetch
from tests.harness.member import SyncMember
from tests.harness.page_server import PageServer

Join = Callable[..., SyncMember]
NewPage = Callable[..., Page]

SCHEMES = ("light", "dark")
SIZES = ((1280, 800), (360, 740))

CONTRASTS = """() => {
  const row = document.querySelector('.by');
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const luminance = (color) => {
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const page = getComputedStyle(document.body).backgroundColor;
  return Array.from({ length: 360 }, (_, hue) => {
    row.style.setProperty('--hue', hue);
    const disc = getComputedStyle(row, '::before');
    const name = getComputedStyle(row.querySelector('.name')).color;
    return Math.min(ratio(name, page), ratio(disc.color, disc.backgroundColor));
  });
}"""
"""The contrast of a name and of its initials, for each hue."""


def check(page: Page) -> None:
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


@pytest.fixture(
    name="view", params=[(scheme, size) for scheme in SCHEMES for size in SIZES], ids=str
)
def _view(request: pytest.FixtureRequest, new_page: NewPage) -> Page:
    scheme, (width, height) = request.param
    return new_page(color_scheme=scheme, viewport={"width": width, "height": height})


def test_no_view_has_an_axe_violation(
    view: Page, server: PageServer, join: Join, allow_errors: Callable[[str], None]
) -> None:
    allow_errors(AWAY)
    view.goto(server.url)
    check(view)
    view.get_by_role("button", name="Join").click()
    check(view)
    view.get_by_role("button", name="New room").click()
    view.wait_for_url("**/room/*")
    expect(view.get_by_text("Nobody has said anything yet.")).to_be_visible()
    check(view)
    room_id = view.url.rpartition("/")[2]
    members = [join(room_id) for _ in range(6)]
    for number, member in enumerate(members):
        member.say(f"{number} `code` https://example.org/\n```\nblock\n```")
    members[0].say("long " * 600)
    expect(view.get_by_role("button", name="Show all")).to_be_visible()
    view.get_by_role("textbox", name="Message").fill("mine")
    view.keyboard.press("Enter")
    expect(view.get_by_role("log")).to_contain_text("mine")
    check(view)
    view.locator("#scroller").press("Home")
    expect(view.get_by_role("log").get_by_text("mine", exact=True)).not_to_be_in_viewport()
    members[0].say("new")
    expect(view.get_by_role("button", name="1 new")).to_be_visible()
    view.get_by_role("log").get_by_text("joined").first.click()
    check(view)
    view.get_by_role("button", name="Menu").click()
    check(view)
    view.get_by_role("button", name="Share the room…").click()
    check(view)
    view.keyboard.press("Escape")
    if (people := view.get_by_role("button", name="7 people")).is_visible():
        people.click()
        check(view)
        view.keyboard.press("Escape")
    view.get_by_role("button", name="Menu").click()
    view.get_by_role("button", name="Delete the room…").click()
    check(view)
    view.get_by_role("button", name="Cancel").click()
    view.context.set_offline(True)
    expect(view.get_by_text("You are offline.")).to_be_visible()
    check(view)
    view.context.set_offline(False)
    expect(view.get_by_text("You are offline.")).to_be_hidden()
    view.get_by_role("button", name="Menu").click()
    view.get_by_role("button", name="Delete the room…").click()
    view.get_by_role("button", name="Delete", exact=True).click()
    expect(view.get_by_text("The room has been deleted.")).to_be_visible()
    check(view)
    view.reload()
    expect(view.get_by_text("This room does not exist.")).to_be_visible()
    check(view)
    view.goto(server.url)
    expect(view.get_by_role("listitem")).to_have_count(1)
    check(view)


@pytest.mark.parametrize("contrast", ["no-preference", "more"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_name_can_be_read_in_every_colour(
    new_page: NewPage,
    server: PageServer,
    open_room: OpenRoom,
    join: Join,
    scheme: str,
    contrast: str,
) -> None:
    page = new_page(color_scheme=scheme, contrast=contrast)
    room = server.make_room()
    open_room(page, room.id)
    join(room.id).say("hello")
    expect(page.get_by_role("log")).to_contain_text("hello")
    ratios = page.evaluate(CONTRASTS)
    assert min(ratios) >= (4.5 if contrast == "no-preference" else 5.5), min(ratios)


def test_new_messages_are_announced_and_history_is_not(
    page: Page, server: PageServer, open_room: OpenRoom, join: Join
) -> None:
    room = server.make_room()
    other = join(room.id)
    other.say("from before")
    other.hear_chat()
    open_room(page, room.id)
    log = page.get_by_role("log")
    expect(log).to_contain_text("from before")
    # What is inserted into the log is announced by a region of its own, which history never enters.
    expect(log).to_have_attribute("aria-live", "off")
    announcer = page.locator("#announcer")
    expect(announcer).to_have_attribute("aria-live", "polite")
    other.say("and now")
    expect(announcer).to_have_text(f"{other.name}: and now")
    for number in range(10):
        other.say(f"burst {number}")
    expect(announcer).to_contain_text("new messages")
    assert "from before" not in announcer.inner_text()
    page.get_by_role("textbox", name="Message").fill("mine")
    page.keyboard.press("Enter")
    expect(log).to_contain_text("mine")
    expect(announcer).not_to_contain_text("mine")


def focused(page: Page) -> str:
    """Return what has the focus. It may never be lost to the document as a whole."""
    name: str = page.evaluate(
        "(() => { const { activeElement: e } = document;"
        " return e.getAttribute('aria-label') ?? (e.labels?.[0] ?? e).innerText.trim() })()"
    )
    assert page.evaluate("document.activeElement !== document.body"), "the focus is lost"
    return name


def tab_to(page: Page, name: str) -> None:
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement !== document.body") and focused(page) == name:
            return
    raise AssertionError(f"there is no way to {name!r}")


def test_a_keyboard_is_enough(
    page: Page, server: PageServer, join: Join, allow_errors: Callable[[str], None]
) -> None:
    allow_errors(AWAY)
    page.goto(server.url)
    tab_to(page, "New room")
    page.keyboard.press("Enter")
    page.wait_for_url("**/room/*")
    box = page.get_by_role("textbox", name="Message")
    expect(box).to_be_focused()
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log")).to_contain_text("hello")
    expect(box).to_be_focused()

    room_id = page.url.rpartition("/")[2]
    other = join(room_id)
    for number in range(30):
        other.say(f"message {number}")
    expect(page.get_by_role("log").get_by_text("message 29", exact=True)).to_be_in_viewport()
    page.keyboard.press("PageUp")
    expect(page.get_by_role("log").get_by_text("message 29", exact=True)).not_to_be_in_viewport()
    other.say("one more")
    expect(page.get_by_role("button", name="1 new")).to_be_visible()
    tab_to(page, "1 new")
    page.keyboard.press("Enter")
    expect(page.get_by_role("log").get_by_text("one more", exact=True)).to_be_in_viewport()
    focused(page)
    page.keyboard.type("x")
    expect(box).to_be_focused()
    expect(box).to_have_value("x")
    box.fill("")

    tab_to(page, "Menu")
    page.keyboard.press("Enter")
    tab_to(page, "Share the room…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Share the room")).to_be_visible()
    focused(page)
    page.keyboard.press("Escape")
    assert focused(page) == "Menu"
    page.keyboard.press("Enter")
    tab_to(page, "Delete the room…")
    page.keyboard.press("Enter")
    tab_to(page, "Delete")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The room has been deleted.")).to_be_visible()
    assert focused(page) == "New room"
    assert fetch(f"{server.url}/api/room/{room_id}").status == 404
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/room/" in url and room_id not in url)


def test_motion_is_left_out_for_whoever_does_not_want_it(
    new_page: NewPage, server: PageServer, open_room: OpenRoom
) -> None:
    page = new_page(reduced_motion="reduce")
    open_room(page, server.make_room().id)
    longest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('*')].flatMap((element) =>"
        " ['animationDuration', 'transitionDuration'].map((name) =>"
        " parseFloat(getComputedStyle(element)[name]))))"
    )
    assert longest < 0.001
