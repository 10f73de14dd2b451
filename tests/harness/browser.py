"""Chromium, driven by Playwright's synchronous API, and a watch over what its pages do."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    WebSocket,
    expect,
    sync_playwright,
)

from tests.harness.deadline import DEADLINE
from tests.harness.missing import missing

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The commands that are tried. The shell opens a page for a third of the processor time."""

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A name whose pages are no secure context, unlike those of 127.0.0.1.
    "--host-resolver-rules=MAP chat.test 127.0.0.1",
)

AWAY = r"Failed to load resource|WebSocket connection to|net::ERR_"
"""What Chromium itself reports when a server does not answer, or answers with an error."""

_REPORT_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', (event) => console.error(
  `content security policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the system's Chromium. Skips the test if there is none."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        missing("Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, headless=True)
        expect.set_options(timeout=DEADLINE * 1000)
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """Opens pages, and notes what none of them may do: errors, and requests to foreign hosts."""

    def __init__(self, browser: Browser, is_ours: Callable[[str], bool]) -> None:
        """`is_ours` tells whether a host and port is that of a server of the test."""
        self.faults: list[str] = []
        self._browser = browser
        self._is_ours = is_ours
        self._allowed: list[str] = []
        self._contexts: list[BrowserContext] = []

    def allow(self, pattern: str) -> None:
        """Let pages report errors that this regular expression finds, from the start on."""
        self._allowed.append(pattern)

    def new_page(self, **options: Any) -> Page:
        """Open a page in a context of its own; the options are those of `new_context`."""
        context = self._browser.new_context(
            **{
                "viewport": {"width": 1280, "height": 800},
                "locale": "en-GB",
                "timezone_id": "Europe/Berlin",
                **options,
            }
        )
        self._contexts.append(context)
        context.set_default_timeout(DEADLINE * 1000)
        context.add_init_script(_REPORT_VIOLATIONS)
        context.on("console", self._console)
        context.on("weberror", lambda error: self._fault(f"uncaught: {error.error}"))
        context.on("request", self._request)
        context.on("page", self._page)
        return context.new_page()

    def close(self) -> None:
        """Close all pages. Raises AssertionError if one did what none may do."""
        for context in self._contexts:
            context.close()
        faults = [
            fault
            for fault in self.faults
            if not any(re.search(pattern, fault) for pattern in self._allowed)
        ]
        assert not faults, "\n".join(faults)

    def _page(self, page: Page) -> None:
        page.on("websocket", self._websocket)
        page.on("crash", lambda _: self._fault("the page crashed"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._fault(f"console: {message.text} ({message.location.get('url', '')})")

    def _request(self, request: Request) -> None:
        self._check_host(request.url)

    def _websocket(self, websocket: WebSocket) -> None:
        self._check_host(websocket.url)

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob", "about") and not self._is_ours(parts.netloc):
            self._fault(f"a request to a foreign host: {url}")

    def _fault(self, text: str) -> None:
        self.faults.append(text)
