"""Every request that the API has an answer to: what it takes, and how it may be answered."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sharechat.domain.messages import Message
from sharechat.domain.outcomes import (
    BAD_CURSOR,
    BAD_HANDSHAKE,
    BAD_QUERY,
    FULL,
    HOST_NOT_ALLOWED,
    KEY_MISSING,
    NOT_A_WEBSOCKET,
    ORIGIN_NOT_ALLOWED,
    ROOM_NOT_FOUND,
    STOPPING,
    TOO_FAST,
    TOO_MANY,
    UNAVAILABLE,
    WRONG_KEY,
    WRONG_VERSION,
    Problem,
)
from sharechat.web.health import HealthReport, Liveness, Readiness
from sharechat.web.pagination import DEFAULT_LIMIT, MAX_LIMIT
from sharechat.web.rest import ROOM_KEY_HEADER
from sharechat.web.schemas import MadeRoom, RoomWithMembers
from sharechat.web.websocket import MEMBER_ID_HEADER, MEMBER_NAME_HEADER


class Parameter(NamedTuple):
    """A part of the path or, unless `in_path`, of the query, where it may be left out."""

    name: str
    meaning: str
    schema: dict[str, Any]
    in_path: bool = False


class Answer(NamedTuple):
    """How a request may be answered, other than by a problem."""

    status: int
    meaning: str
    type: Any = None
    """The type whose JSON the body is; None if there is no body."""
    headers: Sequence[tuple[str, str]] = ()
    """Name and meaning of each header that is always there."""
    optional_headers: Sequence[tuple[str, str]] = ()


class Operation(NamedTuple):
    """A method of a path. Answers and problems are all that there are."""

    id: str
    method: str
    path: str
    group: str
    title: str
    meaning: str
    answers: Sequence[Answer]
    problems: Sequence[Problem] = ()
    parameters: Sequence[Parameter] = ()
    needs_key: bool = False
    links: Sequence[str] = ()
    """The operations that take the `roomId` of the answer."""


ANYWHERE = (HOST_NOT_ALLOWED, TOO_MANY)
"""The problems that every request may meet."""

_UUID = {"type": "string", "format": "uuid"}

_ROOM_ID = Parameter("roomId", "The room's id.", _UUID, in_path=True)

_RETRY_AFTER = ("Retry-After", "Seconds after which to ask again.")

_ROOM_PROBLEMS = (ROOM_NOT_FOUND, UNAVAILABLE)

OPERATIONS = (
    Operation(
        "makeRoom",
        "POST",
        "/api/room",
        "Rooms",
        "Make a room",
        f"The room is empty and has a random name. Keep the `{ROOM_KEY_HEADER}`: it alone lets "
        "somebody delete the room, and it is never shown again.",
        (
            Answer(
                200,
                "The room.",
                MadeRoom,
                headers=[(ROOM_KEY_HEADER, "What deletes the room.")],
            ),
        ),
        (ORIGIN_NOT_ALLOWED, TOO_FAST, FULL, UNAVAILABLE),
        links=("getRoom", "getMessages", "joinRoom", "deleteRoom"),
    ),
    Operation(
        "getRoom",
        "GET",
        "/api/room/{roomId}",
        "Rooms",
        "See who is in a room",
        "",
        (Answer(200, "The room and its members.", RoomWithMembers),),
        _ROOM_PROBLEMS,
        (_ROOM_ID,),
    ),
    Operation(
        "deleteRoom",
        "DELETE",
        "/api/room/{roomId}",
        "Rooms",
        "Delete a room",
        "Its messages are gone, and its members' connections are closed with 4410. The request "
        f"needs the `{ROOM_KEY_HEADER}` of the room's making, as a bearer token.",
        (Answer(204, "The room has been deleted."),),
        (KEY_MISSING, WRONG_KEY, ORIGIN_NOT_ALLOWED, *_ROOM_PROBLEMS),
        (_ROOM_ID,),
        needs_key=True,
    ),
    Operation(
        "getMessages",
        "GET",
        "/api/room/{roomId}/messages",
        "Rooms",
        "Read what was said",
        "All messages, oldest first, or a part of them: the newest by `limit` alone, the ones just "
        "before or after a message by its id. `before` and `after` exclude each other.",
        (
            Answer(
                200,
                "The messages, oldest first. The answer is streamed.",
                list[Message],
                optional_headers=[
                    ("Link", 'Where older (`rel="prev"`) and newer (`rel="next"`) ones are.')
                ],
            ),
        ),
        (BAD_QUERY, BAD_CURSOR, *_ROOM_PROBLEMS),
        (
            _ROOM_ID,
            Parameter(
                "limit",
                f"How many messages at most: with `before` {DEFAULT_LIMIT} by default, else all.",
                {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
            ),
            Parameter("before", "A message's id: only what came before it.", _UUID),
            Parameter("after", "A message's id: only what came after it.", _UUID),
        ),
    ),
    Operation(
        "joinRoom",
        "GET",
        "/api/serve/{roomId}",
        "Rooms",
        "Join a room",
        "This is a websocket's handshake (RFC 6455). What is said on the websocket is described in "
        "docs/asyncapi.yaml of the sources. "
        "With the subprotocol `sharechat.v1` a refusal is an accepted handshake and a close code, "
        "since browsers do not show their pages how a handshake was refused.",
        (
            Answer(
                101,
                "The websocket is open.",
                headers=[
                    (MEMBER_ID_HEADER, "The member's id."),
                    (MEMBER_NAME_HEADER, "The member's name."),
                ],
            ),
        ),
        (
            BAD_HANDSHAKE,
            BAD_CURSOR,
            ORIGIN_NOT_ALLOWED,
            NOT_A_WEBSOCKET,
            WRONG_VERSION,
            TOO_FAST,
            FULL,
            STOPPING,
            *_ROOM_PROBLEMS,
        ),
        (
            _ROOM_ID,
            Parameter(
                "after", "For coming back: the id of the last message that was heard.", _UUID
            ),
        ),
    ),
    Operation(
        "getHealth",
        "GET",
        "/api/healthz",
        "Health",
        "See whether each part works",
        "",
        (
            Answer(200, "Both parts work.", HealthReport),
            Answer(503, "A part is away.", HealthReport, headers=[_RETRY_AFTER]),
        ),
    ),
    Operation(
        "getLiveness",
        "GET",
        "/livez",
        "Health",
        "See whether the process is alive",
        "For a probe that restarts the process if there is no answer.",
        (Answer(200, "The process is alive.", Liveness),),
    ),
    Operation(
        "getReadiness",
        "GET",
        "/readyz",
        "Health",
        "See whether the process takes members",
        "For a probe that sends clients elsewhere if it does not.",
        (
            Answer(200, "It takes members: `ready`, or `degraded` without Redis.", Readiness),
            Answer(
                503,
                "It takes none: `draining` before it stops, `unavailable` without the database.",
                Readiness,
                headers=[_RETRY_AFTER],
            ),
        ),
    ),
    Operation(
        "getDescription",
        "GET",
        "/api/openapi.json",
        "About",
        "Get this description",
        "",
        (Answer(200, "An OpenAPI 3.1 document.", dict[str, Any]),),
    ),
)
