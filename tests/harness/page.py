"""What people do with the page of a room, and what they see of it."""

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.harness.deadline import DEADLINE
from tests.harness.http import history, texts

HURRY = "Math.random = () => 0"
"""Makes the pauses between attempts to connect as short as they can be: 0.1 s."""


def say(page: Page, *words: str) -> None:
    for text in words:
        page.get_by_role("textbox", name="Message").fill(text)
        page.get_by_role("button", name="Send").click()


def log_of(page: Page) -> Locator:
    return page.get_by_role("log")


def texts_in(page: Page) -> list[str]:
    return log_of(page).locator(".text").all_inner_texts()


def in_log(page: Page, text: str) -> Locator:
    return log_of(page).get_by_text(text, exact=True)


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


def wait_for(page: Page, holds: Callable[[], bool]) -> None:
    for _ in range(int(DEADLINE / 0.05)):
        if holds():
            return
        page.wait_for_timeout(50)
    raise TimeoutError
