"""How long REST requests take, by route."""

from quart import Quart, Response, g, request

from sharechat.domain.telemetry import Telemetry

NO_ROUTE = "none"
"""The route of a request that none matches."""


def install(app: Quart, telemetry: Telemetry) -> None:
    """Tell `telemetry` of every answer. Must be called before other hooks are added.

    A body that is streamed has not been sent yet then.
    """

    @app.before_request
    async def begin() -> None:
        g.began = telemetry.clock()

    @app.after_request
    async def end(response: Response) -> Response:
        # Without a rule the method may be any word.
        rule = request.url_rule
        route = f"{request.method} {rule.rule}" if rule else NO_ROUTE
        telemetry.answered(route, response.status_code, g.began)
        return response
