"""How large the page is, and how soon it can be used."""

import gzip
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from sharechat.web.pages import Site
from tests.harness.http import fetch
from tests.harness.page_server import PageServer

LARGEST = 40_000
"""Bytes of everything together, compressed."""

SOON = 100
"""Milliseconds from the last byte until the page can be used, with a slow processor."""

SLOWER = 4
"""How many times slower than this machine that processor is."""

TRIES = 3
"""The fastest counts."""

WORK = ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration")
"""What a page costs beside what any page does, such as starting a process."""


def test_everything_together_is_small(server: PageServer) -> None:
    site = Site.from_package()
    room = server.make_room()
    paths = ["/", f"/room/{room.id}", "/manifest.webmanifest"]
    paths += [f"/static/{site.hash}/{name}" for name in site.static]
    sizes = {}
    for path in paths:
        response = fetch(server.url + path, headers={"Accept-Encoding": "gzip"})
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(response.body)
        sizes[path.rpartition("/")[2]] = len(response.body)
    print(sizes, sum(sizes.values()))
    assert sum(sizes.values()) <= LARGEST, sizes


@pytest.mark.parametrize("path", ["/", "/room/{room}"])
def test_the_page_can_be_used_soon_after_its_last_byte_on_a_slow_phone(
    new_page: Callable[..., Page], server: PageServer, path: str
) -> None:
    """Computing time is what counts, as other programs may keep the browser waiting.

    No server is heard, so nothing but the start of the page is measured. Modules run before
    `DOMContentLoaded`; so once that is over, everything does what it says.
    """
    url = server.url + path.replace("{room}", server.make_room().id)
    tries = []
    for _ in range(TRIES):
        page = new_page(viewport={"width": 360, "height": 740})
        page.route("**/api/**", lambda _: None)
        page.route_web_socket(re.compile(""), lambda _: None)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(url, wait_until="domcontentloaded")
        metrics = session.send("Performance.getMetrics")["metrics"]
        expect(page.get_by_role("textbox").first).to_be_enabled()
        seconds = {metric["name"]: metric["value"] for metric in metrics}
        tries.append({name: seconds[name] * 1000 * SLOWER for name in WORK})
        page.close()
    print(path, tries)
    assert min(sum(work.values()) for work in tries) < SOON, tries
