"""Which part of a room's history a request asks for, and the links to the parts beside it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sharechat.domain.ids import MessageId, RoomId, parse_message_id
from sharechat.domain.messages import Entry
from sharechat.domain.outcomes import BAD_QUERY
from sharechat.web.problems import ProblemError

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


class Query(NamedTuple):
    """`?limit=`, `?before=` and `?after=`; None for what is not given."""

    limit: int | None
    before: MessageId | None
    after: MessageId | None

    @property
    def cursor(self) -> MessageId | None:
        return self.before or self.after

    def span(self, head: int, cursor: int) -> tuple[int, int]:
        """Return which entries are meant: those past the first seq, up to the second.

        `head` is the room's, `cursor` the seq of the message that the query names. Since a
        log has no gaps, this is arithmetic.
        """
        if self.before:
            end = cursor - 1
            return max(0, end - (self.limit or DEFAULT_LIMIT)), end
        if self.after:
            return cursor, head if self.limit is None else min(head, cursor + self.limit)
        return 0 if self.limit is None else max(0, head - self.limit), head

    @property
    def paged(self) -> bool:
        return self.limit is not None or self.cursor is not None


def parse(arguments: Mapping[str, str]) -> Query:
    """Return the query. Raises ProblemError, and MessageNotFoundError for an invalid cursor."""
    limit = arguments.get("limit")
    before, after = arguments.get("before"), arguments.get("after")
    if before is not None and after is not None:
        raise ProblemError(BAD_QUERY, "Give 'before' or 'after', not both.")
    number = None
    if limit is not None:
        number = int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 5 else 0
        if not 1 <= number <= MAX_LIMIT:
            raise ProblemError(BAD_QUERY, f"'limit' must be a number from 1 to {MAX_LIMIT}.")
    return Query(
        number,
        None if before is None else parse_message_id(before),
        None if after is None else parse_message_id(after),
    )


def link(room_id: RoomId, query: Query, page: Sequence[Entry], head: int) -> str | None:
    """Return the Link header (RFC 8288) of a page: `prev` is older, `next` newer."""
    if not page:
        return None
    path = f"/api/room/{room_id}/messages"
    limit = query.limit or DEFAULT_LIMIT
    links = []
    if page[0].seq > 1:
        links.append(f'<{path}?before={page[0].message.id}&limit={limit}>; rel="prev"')
    if page[-1].seq < head:
        links.append(f'<{path}?after={page[-1].message.id}&limit={limit}>; rel="next"')
    return ", ".join(links) or None
