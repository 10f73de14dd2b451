"""An id for every request, which its lines in the log and its answer have, and a line about it."""

import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import structlog
import trio

log = structlog.get_logger()

REQUEST_ID_HEADER = "X-Request-Id"

_MAX_PATH = 256
"""Characters of a path that are logged; a client may send sixty times as many."""

_ANSWERS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
"""The messages of ASGI that begin an answer and take headers."""


def with_request_log(app: Any, new_id: Callable[[], str], *, access_log: bool) -> Any:
    """Wrap an ASGI application so that each request has an id and a line in the log.

    The line has the method, the path without its query, the status (101 for a websocket, None if
    there was no answer) and the seconds until the answer was complete. Without `access_log` it is
    logged at debug.
    """
    level = logging.INFO if access_log else logging.DEBUG

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        id_ = new_id()
        began = trio.current_time()
        status: int | None = None

        def report() -> None:
            if not log.is_enabled_for(level):
                return
            log.log(
                level,
                "request",
                method=scope.get("method", "GET"),
                # Quoted, so that nothing in it can pass for a line of the log.
                path=quote(scope["path"], errors="replace")[:_MAX_PATH],
                status=status,
                seconds=round(trio.current_time() - began, 4),
            )

        async def answer(message: Any) -> None:
            nonlocal status
            if message["type"] in _ANSWERS:
                status = message.get("status", 101)
                headers = [*message.get("headers", ()), (b"x-request-id", id_.encode())]
                message = {**message, "headers": headers}
            await send(message)
            if message["type"] == "websocket.accept":
                report()  # Over plain ASGI the application returns only at the member's end.

        with structlog.contextvars.bound_contextvars(request=id_):
            try:
                await app(scope, receive, answer)
            finally:
                if status != 101:
                    report()

    return wrapped


def forget_request() -> None:
    """Let what this task logs and starts from now on not count as a part of its request."""
    structlog.contextvars.unbind_contextvars("request")
