"""Refusals as application/problem+json (RFC 9457)."""

import structlog
from quart import Quart, Response
from werkzeug.exceptions import HTTPException

from sharechat.domain.errors import SharechatError
from sharechat.domain.messages import to_json
from sharechat.domain.outcomes import PROBLEM_OF, Problem

log = structlog.get_logger()

RETRY_AFTER = 5
"""Seconds after which a client is told to come back."""


class ProblemError(Exception):
    """A request is refused, for a reason that only the web side knows."""

    def __init__(self, problem: Problem, detail: str, headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.problem = problem
        self.headers = headers or {}


def _response(status: int, uri: str, title: str, detail: str) -> Response:
    body = to_json({"type": uri, "title": title, "status": status, "detail": detail})
    return Response(body, status=status, content_type="application/problem+json")


def describe(problem: Problem, detail: str) -> dict[str, str | int]:
    """Return the members of a problem's JSON."""
    return {
        "type": problem.uri,
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
    }


def respond(problem: Problem, detail: str) -> Response:
    response = _response(problem.status, problem.uri, problem.title, detail)
    if problem.come_back:
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


def install(app: Quart) -> None:
    """Make every error of a route a problem, also in answer to a websocket's handshake."""

    @app.errorhandler(ProblemError)
    async def refused(error: ProblemError) -> Response:
        response = respond(error.problem, str(error))
        response.headers.update(error.headers)
        return response

    @app.errorhandler(SharechatError)
    async def failed(error: SharechatError) -> Response:
        problem = PROBLEM_OF.get(type(error))
        if problem is None:
            return await broken(error)
        return respond(problem, str(error))

    @app.errorhandler(HTTPException)
    async def unroutable(error: HTTPException) -> Response:
        response = _response(
            error.code or 500, "about:blank", error.name, error.description or error.name
        )
        # Such as Allow, where the method was wrong.
        for name, value in error.get_headers():
            if name.lower() not in ("content-type", "content-length"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    async def broken(error: Exception) -> Response:
        log.error("request failed", exc_info=error)
        return _response(
            500, "about:blank", "Internal Server Error", "Something went wrong in the server."
        )
