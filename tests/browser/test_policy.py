"""What the page may do is limited by its Content-Security-Policy, and it keeps within it.

The fixture `page` fails every test in this folder whose page reports a violation or asks a
foreign host for anything; here it is tried whether the policy and the fixture would.
"""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.harness.browser import Watch
from tests.harness.page_server import PageServer

PLANTED = """() => {
  const script = document.createElement('script');
  script.textContent = 'globalThis.planted = true';
  document.body.append(script);
  const holder = document.createElement('div');
  holder.innerHTML = '<img src="data:," onerror="globalThis.planted = true">';
  document.body.append(holder);
}"""


@pytest.mark.parametrize("path", ["/", "/room/{room}", "/room/x"])
def test_no_view_breaks_the_policy_or_asks_a_foreign_host(
    page: Page, server: PageServer, allow_errors: Callable[[str], None], path: str
) -> None:
    if path == "/room/x":
        allow_errors("status of 404")
    page.goto(server.url + path.replace("{room}", server.make_room().id))
    page.wait_for_load_state("networkidle")


def test_a_planted_script_does_not_run(
    page: Page, server: PageServer, watch: Watch, allow_errors: Callable[[str], None]
) -> None:
    allow_errors("(?i)content security policy|net::ERR_INVALID_URL")
    page.goto(f"{server.url}/")
    page.evaluate(PLANTED)
    page.wait_for_timeout(100)  # As long as a script would need to run.
    assert not page.evaluate("'planted' in globalThis")
    reports = [fault for fault in watch.faults if "content security policy: script-src" in fault]
    assert len(reports) >= 2, watch.faults


@pytest.mark.parametrize(
    "what",
    [
        "fetch('https://foreign.example/').catch(() => {})",
        "void (new Image().src = 'https://foreign.example/x.png')",
        "void new WebSocket('wss://foreign.example/')",
    ],
)
def test_a_request_to_a_foreign_host_is_blocked(
    page: Page, server: PageServer, watch: Watch, allow_errors: Callable[[str], None], what: str
) -> None:
    allow_errors("")
    page.goto(f"{server.url}/")
    page.evaluate(f"() => {{ try {{ {what} }} catch {{}} }}")
    page.wait_for_timeout(100)
    assert any("content security policy" in fault for fault in watch.faults), watch.faults


def test_an_error_of_a_page_is_noted(page: Page, server: PageServer, watch: Watch) -> None:
    page.goto(f"{server.url}/")
    page.evaluate("() => { setTimeout(() => { throw new Error('planted'); }); }")
    page.evaluate("() => console.error('said')")
    page.wait_for_timeout(100)
    watch.allow("planted|said")
    assert any("planted" in fault for fault in watch.faults), watch.faults
    assert any("said" in fault for fault in watch.faults), watch.faults
