"""What schemathesis cannot know from the document: rooms have keys, and somebody says something."""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

import schemathesis

from tests.harness.deadline import wait_until
from tests.harness.http import HANDSHAKE, fetch, history


class _Made(NamedTuple):
    """A room that was made: its key, and the id of a message in it."""

    key: str
    message: str


_made: dict[str, _Made] = {}


def _room_of(case: Any) -> _Made | None:
    parameters: dict[str, str] = case.path_parameters or {}
    return _made.get(parameters.get("roomId", ""))


@schemathesis.hook
def after_call(_context: Any, case: Any, response: Any) -> None:
    if (case.method, case.path, response.status_code) == ("POST", "/api/room", 200):
        base = f"http://{urlsplit(response.request.url).netloc}"
        room = response.json()["roomId"]
        # Somebody joins and leaves, so that there is a history.
        fetch(f"{base}/api/serve/{room}", headers=HANDSHAKE)
        (key,) = response.headers.get("sharechat-room-key", [""])
        wait_until(lambda: history(base, room))
        _made[room] = _Made(key, history(base, room)[0]["id"])


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Let a query that is to be valid name a message of the room, and only one."""
    if not case.path.endswith("/messages") or not case.meta.generation.mode.is_positive:
        return
    if "before" in case.query:
        case.query.pop("after", None)
    if room := _room_of(case):
        case.query.update(
            {name: room.message for name in ("before", "after") if name in case.query}
        )


@schemathesis.auth(refresh_interval=None).apply_to(method="DELETE")
class RoomKey:
    """Sends the room's own key."""

    def get(self, case: Any, _context: Any) -> str | None:
        room = _room_of(case)
        return room and room.key

    def set(self, case: Any, key: str, _context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {key}"
