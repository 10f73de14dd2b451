"""Refusals as application/problem+json (RFC 9457)."""

import structlog
from quart import Quart, Response, has_request_context, request, websocket
from werkzeug.exceptions import HTTPException
from werkzeug.routing.exceptions import WebsocketMismatch

from sharechat.domain.errors import SharechatError, TooFastError
from sharechat.domain.outcomes import PROBLEM_OF, RETRY_AFTER, Problem, problem_json
from sharechat.domain.telemetry import SILENT, Part, Telemetry
from sharechat.web.peers import peer_of

log = structlog.get_logger()

CONTENT_TYPE = "application/problem+json"


class ProblemError(Exception):
    """A request is refused for a reason that only the web side knows."""

    def __init__(self, problem: Problem, detail: str, headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.problem = problem
        self.headers = headers or {}


def respond(problem: Problem, detail: str, retry_after: int = RETRY_AFTER) -> Response:
    """Return the response that refuses a request for the reason `detail`."""
    response = Response(problem.to_json(detail), status=problem.status, content_type=CONTENT_TYPE)
    if problem.retry:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _log_refusal(status: int, detail: str, problem: Problem | None = None) -> None:
    sent = request if has_request_context() else websocket
    log.debug(
        "refused",
        status=status,
        problem=problem and problem.slug,
        detail=detail,
        address=peer_of(sent).address,
    )


def _untyped(status: int, title: str, detail: str) -> Response:
    """Return a problem that says no more than its status does (RFC 9457, section 4.2.1)."""
    body = problem_json(status, "about:blank", title, detail)
    return Response(body, status=status, content_type=CONTENT_TYPE)


def install(app: Quart, telemetry: Telemetry = SILENT) -> None:
    """Turn every error of a route into a problem, also in answer to a websocket's handshake."""

    @app.errorhandler(ProblemError)
    async def refused(error: ProblemError) -> Response:
        telemetry.refused(error.problem)
        _log_refusal(error.problem.status, str(error), error.problem)
        response = respond(error.problem, str(error))
        response.headers.update(error.headers)
        return response

    @app.errorhandler(SharechatError)
    async def failed(error: SharechatError) -> Response:
        problem = PROBLEM_OF.get(type(error))
        if problem is None:
            return await broken(error)
        telemetry.refused(problem)
        _log_refusal(problem.status, str(error), problem)
        if isinstance(error, TooFastError):
            return respond(problem, str(error), error.retry_after)
        return respond(problem, str(error))

    @app.errorhandler(WebsocketMismatch)
    async def no_websocket(error: WebsocketMismatch) -> Response:
        error.description = "There is no websocket here. A room's is at /api/serve/<room-id>."
        return await unroutable(error)

    @app.errorhandler(HTTPException)
    async def unroutable(error: HTTPException) -> Response:
        status, detail = error.code or 500, error.description or error.name
        _log_refusal(status, detail)
        response = _untyped(status, error.name, detail)
        # Such as Allow, where the method was wrong.
        for name, value in error.get_headers():
            if name.lower() not in ("content-type", "content-length"):
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    async def broken(error: Exception) -> Response:
        log.error("request failed", exc_info=error)
        telemetry.failed(Part.REQUEST)
        return _untyped(500, "Internal Server Error", "Something went wrong in the server.")
