"""The pictures of the page in the README: `make screenshots`.

They are taken of the real server, so names and times differ from run to run.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from tests.harness.browser import Watch, chromium
from tests.harness.member import SyncMember
from tests.harness.page_server import PageServer

FOLDER = Path(__file__).parents[2] / "docs"

LARGEST = 120_000
"""Bytes of one picture."""

DEVICES: dict[str, dict[str, Any]] = {
    "phone": {
        "viewport": {"width": 360, "height": 740},
        "device_scale_factor": 1.5,
        "has_touch": True,
        "is_mobile": True,
    },
    "desktop": {"viewport": {"width": 1280, "height": 800}},
}

TALK = (
    (0, "Morning! Is everybody here?"),
    (1, "Almost. I have the notes from yesterday: https://example.org/notes"),
    (1, "The short version is `make test` before lunch, and the rest after it."),
    (2, "Dzień dobry!"),
    (0, "Then let's start.\n```\n10:00  what we found\n10:30  what we do about it\n```"),
    (3, "I came in by the QR code."),
)
"""Who says what; 3 is the page itself."""


def main() -> None:
    server = PageServer()
    server.start()
    try:
        with chromium() as browser:
            for device, options in DEVICES.items():
                for scheme in ("light", "dark"):
                    path = FOLDER / f"page-{device}-{scheme}.png"
                    _take(server, browser, path, {**options, "color_scheme": scheme})
                    print(f"{path.name}: {path.stat().st_size} bytes")
                    assert path.stat().st_size < LARGEST, path
    finally:
        server.kill()


def _take(server: PageServer, browser: Browser, path: Path, options: dict[str, Any]) -> None:
    """Have a talk in a room in which a page is, and take a picture of the page."""
    room = server.make_room()
    watch = Watch(browser, server.owns)
    page = watch.new_page(**options, reduced_motion="reduce")
    with ExitStack() as stack:
        others = [stack.enter_context(SyncMember(server.url, room.id)) for _ in range(3)]
        page.goto(f"{server.url}/room/{room.id}")
        for _ in others:  # The last one to join after the first of them is the page.
            others[0].hear()
        _talk(page, others)
        page.screenshot(path=path)
        watch.close()


def _talk(page: Page, others: Sequence[SyncMember]) -> None:
    box = page.get_by_role("textbox", name="Message")
    for who, text in TALK:
        if who < len(others):
            others[who].say(text)
        else:
            box.fill(text)
            page.get_by_role("button", name="Send").click()
        words = text.split("\n")[0].split("`")[0].strip()
        expect(page.get_by_role("log").get_by_text(words).last).to_be_visible()
    page.wait_for_timeout(500)  # Until the last message has lost its mark.


if __name__ == "__main__":
    main()
