"""Unit tests of the page's modules. They are written in JavaScript and run in a page."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

from sharechat.domain.outcomes import BAD_CURSOR, CLOSES, PROBLEMS, ROOM_DELETED, ROOM_NOT_FOUND
from tests.harness.http import fetch
from tests.harness.page_server import PageServer

UNITS = Path(__file__).parent / "units"

RUN = """async ([base, name]) => {
  const { run } = await import(`${base}/units/check.js`);
  await import(`${base}/units/${name}`);
  return await run();
}"""

OUTCOMES = """async ([base, codes]) => {
  const { outcomeOfClose } = await import(`${base}/outcomes.js`);
  return codes.map((code) => outcomeOfClose(code, 'As the server says.'));
}"""


@pytest.fixture(name="base")
def _base(page: Page, server: PageServer) -> str:
    """A blank page of the server is open; return where its modules are, and these tests."""

    def unit(route: Route) -> None:
        name = route.request.url.rpartition("/")[2]
        route.fulfill(path=UNITS / name, content_type="text/javascript")

    page.route("**/units/*.js", unit)
    page.route("**/blank", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto(f"{server.url}/blank")
    found = re.search(rb"/static/\w+", fetch(server.url).body)
    assert found is not None
    return found[0].decode()


@pytest.mark.parametrize(
    "name", sorted(path.name for path in UNITS.glob("*.js") if path.name != "check.js")
)
def test_the_modules_do_what_their_unit_tests_say(page: Page, base: str, name: str) -> None:
    result = page.evaluate(RUN, [base, name])
    failures = "\n\n".join(f"{test}\n{error}" for test, error in result["failures"].items())
    assert result["count"] > 0
    assert not failures, failures


def test_the_page_does_what_the_table_of_outcomes_says(page: Page, base: str) -> None:
    rows: dict[int | None, bool] = {}
    for row in (*CLOSES, *PROBLEMS):
        rows[row.code] = rows.get(row.code, False) or row.retry
    rows.pop(None)
    rows[BAD_CURSOR.code] = True  # without the cursor
    outcomes: list[dict[str, Any]] = page.evaluate(OUTCOMES, [base, list(rows)])
    assert [outcome["retry"] for outcome in outcomes] == list(rows.values())
    gone = {code for code, outcome in zip(rows, outcomes, strict=True) if outcome["gone"]}
    assert gone == {ROOM_DELETED.code, ROOM_NOT_FOUND.code}
    assert all(outcome["text"].endswith(".") for outcome in outcomes)
