"""Every close code and every problem type, in one table.

docs/api.md shows this table to clients. Each row says whether it makes sense to try again.
"""

from typing import Annotated, NamedTuple

import msgspec

from sharechat.domain import errors
from sharechat.domain.messages import to_json

RETRY_AFTER = 5
"""Seconds after which a client should try again, unless the error itself says when."""


class Close(NamedTuple):
    """How the server ends a websocket: a close code (RFC 6455, section 7.4) and the reason."""

    code: int
    reason: str
    retry: bool


NORMAL = Close(1000, "", True)
"""Nothing is wrong: the client ended the connection itself. Not in the table."""

BAD_FRAME = Close(1002, "That is not the websocket protocol.", False)
TOO_MANY_FRAMES = Close(1008, "Too many control frames or empty fragments.", False)
NOT_UTF8 = Close(1007, "A message has to be valid UTF-8.", False)
TOO_LARGE = Close(1009, "The message is too large.", False)
INTERNAL_ERROR = Close(1011, "Something went wrong in the server.", True)
RESTARTING = Close(1012, "The server is stopping or starting afresh.", True)
TOO_SLOW = Close(1013, "Too much waited for this connection to read.", True)
TRY_LATER = Close(1013, "The room could not be joined just now.", True)
ROOM_DELETED = Close(4410, "The room has been deleted.", False)

CLOSES = (
    BAD_FRAME,
    TOO_MANY_FRAMES,
    NOT_UTF8,
    TOO_LARGE,
    INTERNAL_ERROR,
    RESTARTING,
    TOO_SLOW,
    TRY_LATER,
    ROOM_DELETED,
)


class Problem(NamedTuple):
    """Why a REST request or a websocket's handshake is refused (RFC 9457)."""

    status: int
    slug: str
    title: str
    retry: bool
    code: int | None = None
    """The close code that has the same meaning, if a room may be refused for this.

    A browser does not show its page how a handshake was refused, so to a client that speaks
    `sharechat.v1` it is accepted and closed with this code.
    """

    @property
    def uri(self) -> str:
        """The problem's type: a tag URI (RFC 4151), which names it without promising a page."""
        return f"tag:sharechat.dev,2026:{self.slug}"

    def to_json(self, detail: str) -> bytes:
        """Return the body of the response that refuses a request for the reason `detail`."""
        return problem_json(self.status, self.uri, self.title, detail)


class ProblemDetails(msgspec.Struct, frozen=True):
    """Why a request is refused (RFC 9457, section 3)."""

    type: Annotated[
        str,
        msgspec.Meta(
            description="A URI for the kind; `about:blank` if the status is all there is."
        ),
    ]
    title: Annotated[str, msgspec.Meta(description="The kind of problem, for people.")]
    status: int
    detail: Annotated[str, msgspec.Meta(description="What is wrong with this request.")]


def problem_json(status: int, uri: str, title: str, detail: str) -> bytes:
    """Return the body of an application/problem+json response."""
    return to_json(ProblemDetails(uri, title, status, detail))


BAD_HANDSHAKE = Problem(400, "bad-handshake", "Not a valid websocket handshake", False)
BAD_QUERY = Problem(400, "bad-query", "The query makes no sense", False)
BAD_CURSOR = Problem(400, "bad-cursor", "No such message in the room", False, 4400)
KEY_MISSING = Problem(401, "key-missing", "The room's key is needed", False)
WRONG_KEY = Problem(403, "wrong-key", "Not the room's key", False)
ORIGIN_NOT_ALLOWED = Problem(403, "origin-not-allowed", "Origin not allowed", False, 4403)
HOST_NOT_ALLOWED = Problem(403, "host-not-allowed", "Host not allowed", False, 4421)
ROOM_NOT_FOUND = Problem(404, "room-not-found", "No such room", False, 4404)
WRONG_VERSION = Problem(426, "wrong-version", "Another version of websockets", False)
NOT_A_WEBSOCKET = Problem(426, "not-a-websocket", "A websocket is needed here", False)
TOO_MANY = Problem(429, "too-many", "Too many connections from this address", True, 4429)
TOO_FAST = Problem(429, "too-fast", "Too many rooms or joins from this address", True, 4430)
FULL = Problem(503, "full", "The server is full", True, 4450)
UNAVAILABLE = Problem(503, "unavailable", "The rooms cannot be reached", True, 4451)
STOPPING = Problem(503, "stopping", "The server is stopping", True, 4452)

PROBLEMS = (
    BAD_HANDSHAKE,
    BAD_QUERY,
    BAD_CURSOR,
    KEY_MISSING,
    WRONG_KEY,
    ORIGIN_NOT_ALLOWED,
    HOST_NOT_ALLOWED,
    ROOM_NOT_FOUND,
    WRONG_VERSION,
    NOT_A_WEBSOCKET,
    TOO_MANY,
    TOO_FAST,
    FULL,
    UNAVAILABLE,
    STOPPING,
)

PROBLEM_OF: dict[type[errors.SharechatError], Problem] = {
    errors.RoomNotFoundError: ROOM_NOT_FOUND,
    errors.MessageNotFoundError: BAD_CURSOR,
    errors.WrongKeyError: WRONG_KEY,
    errors.UnavailableError: UNAVAILABLE,
    errors.TooManyConnectionsError: TOO_MANY,
    errors.TooFastError: TOO_FAST,
    errors.FullError: FULL,
    errors.StoppingError: STOPPING,
}


def close_of(error: errors.SharechatError) -> Close | None:
    """Return how to close a websocket instead of refusing its handshake for `error`."""
    problem = PROBLEM_OF.get(type(error))
    if problem is None or problem.code is None:
        return None
    return Close(problem.code, str(error), problem.retry)
