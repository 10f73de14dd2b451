"""Fixtures: a browser, its pages, and the servers that they use."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.harness import browser as browsers
from tests.harness.browser import Watch
from tests.harness.cluster import Cluster
from tests.harness.deadline import DEADLINE
from tests.harness.http import members
from tests.harness.member import SyncMember
from tests.harness.page_server import PageServer


class OpenRoom(Protocol):
    def __call__(self, page: Page, room_id: str, base: str | None = None) -> None:
        """Go to a room, and wait until the page is a member; `base` is `server.url` by default."""
        ...


@pytest.fixture(scope="package", name="browser")
def _browser() -> Iterator[Browser]:
    with browsers.chromium() as browser:
        yield browser


@pytest.fixture(scope="package", name="shared_server")
def _shared_server() -> Iterator[PageServer]:
    server = PageServer()
    yield server
    server.stop()


@pytest.fixture(name="server")
def _server(shared_server: PageServer) -> PageServer:
    """The server that most tests share. One that was killed runs again in the next test."""
    if not shared_server.running:
        shared_server.start()
    return shared_server


@pytest.fixture(name="lasting_server")
def _lasting_server(servers: Cluster) -> Iterator[PageServer]:
    """A server over Postgres and Redis: its rooms are still there after it was killed."""
    server = PageServer(*servers.flags)
    server.start()
    yield server
    server.kill()


@pytest.fixture(name="our_hosts")
def _our_hosts() -> list[Callable[[str], bool]]:
    """Who knows which hosts are the test's own. A test with more servers adds to it."""
    return []


@pytest.fixture(name="watch")
def _watch(
    request: pytest.FixtureRequest,
    browser: Browser,
    our_hosts: list[Callable[[str], bool]],
) -> Iterator[Watch]:
    # All of them are asked for here, so that they stop after the pages have been closed.
    asked = {"server", "lasting_server", "nginx"} & {*request.fixturenames}
    our_hosts.extend(request.getfixturevalue(name).owns for name in sorted(asked))
    watch = Watch(browser, lambda netloc: any(owns(netloc) for owns in our_hosts))
    yield watch
    watch.close()


@pytest.fixture(name="allow_errors")
def _allow_errors(watch: Watch) -> Callable[[str], None]:
    """Let pages of this test report errors that a pattern finds, such as `browser.AWAY`."""
    return watch.allow


@pytest.fixture(name="new_page")
def _new_page(watch: Watch) -> Callable[..., Page]:
    """Open pages, each in a browser context of its own, as if in another browser."""
    return watch.new_page


@pytest.fixture(name="page")
def _page(new_page: Callable[..., Page]) -> Page:
    """A page. The test fails if it reports an error, or asks a foreign host for anything."""
    return new_page()


@pytest.fixture(name="open_room")
def _open_room(server: PageServer) -> OpenRoom:
    def open_room(page: Page, room_id: str, base: str | None = None) -> None:
        base = base or server.url
        before = {member["id"] for member in members(base, room_id)}
        page.goto(f"{base}/room/{room_id}")
        expect(page.get_by_role("textbox", name="Message")).to_be_visible()
        for _ in range(int(DEADLINE / 0.05)):
            if {member["id"] for member in members(base, room_id)} - before:
                return
            # Not a sleep, which would keep Playwright from hearing of what the page does.
            page.wait_for_timeout(50)
        raise TimeoutError("the page did not join the room")

    return open_room


@pytest.fixture(name="join")
def _join(server: PageServer) -> Iterator[Callable[..., SyncMember]]:
    """Let another member join a room until the test ends."""
    with ExitStack() as stack:

        def join(room_id: str, base: str | None = None) -> SyncMember:
            return stack.enter_context(SyncMember(base or server.url, room_id))

        yield join
