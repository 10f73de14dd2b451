"""The page behind nginx as it is deployed: over TLS, and over a cluster that loses a server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenRoom
from tests.harness.browser import AWAY
from tests.harness.cluster import Cluster
from tests.harness.deadline import DEADLINE
from tests.harness.http import history, members, texts
from tests.harness.member import SyncMember
from tests.harness.nginx import Nginx
from tests.harness.page import HURRY, say
from tests.harness.page_server import PageServer
from tests.harness.qr import drawn

Pair = tuple[PageServer, PageServer]


@pytest.fixture(name="twins")
def _twins(servers: Cluster) -> Iterator[Pair]:
    """Two servers of one cluster, for one test that kills them."""
    one, other = PageServer(*servers.flags), PageServer(*servers.flags)
    one.start()
    other.start()
    yield one, other
    one.kill()
    other.kill()


@pytest.fixture(name="nginx")
def _nginx(twins: Pair, tmp_path: Path) -> Iterator[Nginx]:
    with Nginx(tmp_path, [server.port for server in twins]) as nginx:
        yield nginx


def test_a_page_goes_on_when_one_of_two_servers_is_killed(
    page: Page,
    twins: Pair,
    nginx: Nginx,
    open_room: OpenRoom,
    allow_errors: Callable[[str], None],
) -> None:
    """Each of the two is killed once, so one of them is that to which the page is connected."""
    page.context.add_init_script(HURRY)
    allow_errors(AWAY)
    room = twins[0].make_room()
    open_room(page, room.id, nginx.url)
    expected = []
    for number, victim in enumerate(twins):
        survivor = twins[1 - number]
        victim.kill()
        said, heard = f"said without {number}", f"heard without {number}"
        say(page, said)
        expect(page.get_by_role("log").get_by_text(said, exact=True)).to_be_visible()
        eventually_stored(page, survivor.url, room.id, said)
        from_elsewhere(survivor.url, room.id, heard)
        expect(page.get_by_role("log").get_by_text(heard, exact=True)).to_be_visible()
        expected += [said, heard]
        victim.start()
    assert texts(history(twins[0].url, room.id)) == expected
    for text in expected:
        expect(page.get_by_role("log").get_by_text(text, exact=True)).to_have_count(1)


def eventually_stored(page: Page, base: str, room_id: str, text: str) -> None:
    for _ in range(int(2 * DEADLINE / 0.1)):
        if text in texts(history(base, room_id)):
            return
        page.wait_for_timeout(100)
    raise TimeoutError(f"{text!r} was not stored")


def from_elsewhere(base: str, room_id: str, text: str) -> None:
    with SyncMember(base, room_id) as other:
        other.say(text)
        assert other.hear_chat() == text


def test_over_tls_the_page_and_its_websocket_are_secure(
    new_page: Callable[..., Page], twins: Pair, nginx: Nginx, open_room: OpenRoom
) -> None:
    page = new_page(ignore_https_errors=True)
    sockets: list[str] = []
    page.on("websocket", lambda websocket: sockets.append(websocket.url))
    room = twins[0].make_room()
    page.goto(f"{nginx.tls_url}/room/{room.id}")
    say(page, "hello")
    eventually_stored(page, twins[0].url, room.id, "hello")
    assert len(members(twins[0].url, room.id)) == 1
    assert sockets
    assert all(url.startswith(f"wss://127.0.0.1:{nginx.tls_port}/") for url in sockets)


def test_over_tls_a_room_can_be_made_and_its_qr_code_says_https(
    new_page: Callable[..., Page], nginx: Nginx
) -> None:
    page = new_page(ignore_https_errors=True)
    page.goto(f"{nginx.tls_url}/")
    page.get_by_role("button", name="New room").click()
    page.wait_for_url(f"{nginx.tls_url}/room/*")
    plain, secure = page.evaluate(
        """() => Promise.all(['', '?scheme=https'].map(async (query) => {
          const response = await fetch(`${location.pathname}/qr.svg${query}`);
          return response.text();
        }))"""
    )
    assert drawn(page.url) in secure
    assert drawn(page.url) not in plain
