"""Pages of a history and the links between them."""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharechat.domain.errors import MessageNotFoundError
from sharechat.domain.ids import MemberId, RoomId
from sharechat.domain.messages import Entry, Identity, stamp
from sharechat.web import pagination as pages
from sharechat.web.problems import ProblemError
from tests.harness.drafts import chat

ROOM = RoomId("5a9759fb-a35b-4311-885b-c90a8fddb8fa")
WHO = Identity(MemberId("0f3d7c52-9a68-4d0b-8f5e-6c1b2a934e70"), "Teal Creek")
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class History:
    """A room's log, which answers a URL as the REST endpoint would."""

    def __init__(self, size: int) -> None:
        self.entries = [
            Entry(seq, stamp(chat(ROOM, WHO, str(seq)), NOW)) for seq in range(1, size + 1)
        ]

    def get(self, url: str) -> tuple[list[Entry], dict[str, str]]:
        """Return a page, and its links by relation."""
        parts = urlsplit(url)
        assert parts.path == f"/api/room/{ROOM}/messages"
        query = pages.parse(dict(parse_qsl(parts.query)))
        seqs = {entry.message.id: entry.seq for entry in self.entries}
        cursor = seqs[query.cursor] if query.cursor else 0
        after, end = query.span(len(self.entries), cursor)
        page = self.entries[after:end] if end > after else []
        header = pages.link(ROOM, query, page, len(self.entries)) or ""
        links = re.findall(r'<([^>]*)>; rel="(\w+)"', header)
        return page, {rel: target for target, rel in links}


URL = f"/api/room/{ROOM}/messages"


@given(size=st.integers(0, 60), limit=st.integers(1, 70))
def test_prev_from_the_newest_page_leads_through_the_whole_history_once(
    size: int, limit: int
) -> None:
    history = History(size)
    page, links = history.get(f"{URL}?limit={limit}")
    walked = page
    assert "next" not in links
    while "prev" in links:
        page, links = history.get(links["prev"])
        assert 0 < len(page) <= limit
        walked = page + walked

    assert walked == history.entries


@given(size=st.integers(1, 60), limit=st.integers(1, 70), start=st.integers(0, 59))
def test_next_leads_to_the_newest_message_and_prev_back_again(
    size: int, limit: int, start: int
) -> None:
    history = History(size)
    first = history.entries[start % size]
    page, links = history.get(f"{URL}?after={first.message.id}&limit={limit}")
    walked, last = page, links
    while "next" in last:
        page, last = history.get(last["next"])
        assert 0 < len(page) <= limit
        walked = walked + page

    assert walked == history.entries[first.seq :]
    if walked:
        before, _ = history.get(links["prev"])
        assert before[-1] == first


@given(size=st.integers(1, 250), at=st.integers(0, 249))
def test_before_without_a_limit_returns_a_hundred_messages(size: int, at: int) -> None:
    history = History(size)
    cursor = history.entries[at % size]

    page, links = history.get(f"{URL}?before={cursor.message.id}")

    assert page == history.entries[max(0, cursor.seq - 101) : cursor.seq - 1]
    assert ("prev" in links) == (cursor.seq > 101)


@pytest.mark.parametrize(
    "limit", ["0", "-1", "1001", "99999999999", "", " ", "ten", "1.0", "+5", "٣", "1e2", "\0"]
)
def test_an_invalid_limit_is_refused(limit: str) -> None:
    with pytest.raises(ProblemError) as caught:
        pages.parse({"limit": limit})
    assert caught.value.problem.status == 400


@pytest.mark.parametrize("limit", ["1", "1000", "0007"])
def test_a_limit_is_a_number_from_1_to_1000(limit: str) -> None:
    assert pages.parse({"limit": limit}).limit == int(limit)


def test_before_and_after_together_are_refused() -> None:
    with pytest.raises(ProblemError):
        pages.parse({"before": WHO.id, "after": WHO.id})


@pytest.mark.parametrize("name", ["before", "after"])
@pytest.mark.parametrize("cursor", ["", "x", "%", f"{WHO.id} ", f"{WHO.id}\n", f"{{{WHO.id}}}"])
def test_a_cursor_that_cannot_be_an_id_is_not_found(name: str, cursor: str) -> None:
    with pytest.raises(MessageNotFoundError):
        pages.parse({name: cursor})


def test_an_id_in_upper_case_is_the_same_id() -> None:
    assert pages.parse({"after": WHO.id.upper()}).after == str(WHO.id)
