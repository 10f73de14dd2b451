"""The page can be installed as an application."""

import json
from typing import Any

from playwright.sync_api import Page

from tests.harness.page_server import PageServer


def ask(page: Page, method: str) -> Any:
    return page.context.new_cdp_session(page).send(method)


def test_chromium_would_install_it(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/")
    manifest = ask(page, "Page.getAppManifest")
    assert manifest["errors"] == []
    assert manifest["url"] == f"{server.url}/manifest.webmanifest"
    fields = json.loads(manifest["data"])
    assert fields["name"]
    assert fields["short_name"]
    assert (fields["start_url"], fields["scope"]) == ("/", "/")
    assert fields["display"] == "standalone"
    found = ask(page, "Page.getInstallabilityErrors")["installabilityErrors"]
    # A context without a history is like a private window, where nothing is installed.
    assert {error["errorId"] for error in found} <= {"in-incognito"}


def test_its_icons_are_drawn(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/")
    icons = json.loads(ask(page, "Page.getAppManifest")["data"])["icons"]
    assert {icon["purpose"] for icon in icons} == {"any", "maskable"}
    for icon in icons:
        sides = page.evaluate(
            """async (src) => {
              const image = new Image();
              image.src = src;
              await image.decode();
              return [image.naturalWidth, image.naturalHeight];
            }""",
            icon["src"],
        )
        assert sides[0] == sides[1] > 0


def test_the_room_belongs_to_the_application(page: Page, server: PageServer) -> None:
    page.goto(f"{server.url}/room/{server.make_room().id}")
    manifest = ask(page, "Page.getAppManifest")
    assert manifest["errors"] == []
    assert manifest["url"] == f"{server.url}/manifest.webmanifest"
