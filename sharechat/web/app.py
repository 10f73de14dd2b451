"""The ASGI application: its routes, and the life of the server within ASGI's lifespan."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

from quart.wrappers.base import BaseRequestWebsocket
from quart_trio import QuartTrio
from werkzeug.exceptions import BadHost
from werkzeug.routing import MapAdapter

from sharechat.actors.controller import Controller
from sharechat.domain.ports import Repository
from sharechat.domain.sources import Sources
from sharechat.domain.telemetry import SILENT, Telemetry
from sharechat.web import openapi, origins, problems, timing
from sharechat.web.health import Health
from sharechat.web.pages import Site, pages
from sharechat.web.request_log import with_request_log
from sharechat.web.rest import rest
from sharechat.web.websocket import WebsocketRoute, WebsocketSession

_NO_PATH = "/*"
"""Stands for a target that has no path, such as that of `OPTIONS *`: nothing is found there."""

_MAX_BODY_BYTES = 16 * 1024
"""No endpoint reads a body."""


def make_app(
    controller: Controller,
    repository: Repository,
    health: Health,
    websocket_route: WebsocketRoute,
    *,
    sources: Sources,
    admit_room: Callable[[str, Sequence[str], Sequence[str]], None],
    allowed_origins: Collection[str],
    allowed_hosts: Collection[str],
    site: Site | None,
    access_log: bool,
    run: Callable[..., Awaitable[None]],
    telemetry: Telemetry = SILENT,
) -> QuartTrio:
    """Return the application over these parts; without `site` it has no page for people.

    Within ASGI's lifespan it starts `run`, which takes a `task_status`, and at its end stops
    the Controller. `sharechat serve` calls `run` itself and makes no use of the lifespan.
    """
    app = _App("sharechat", static_folder=None)
    app.asgi_websocket_class = WebsocketSession
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
    timing.install(app, telemetry)
    problems.install(app, telemetry)
    origins.install(app, allowed_origins, allowed_hosts)
    app.register_blueprint(rest(controller, repository, sources, admit_room))
    app.register_blueprint(health.blueprint())
    app.register_blueprint(openapi.blueprint())
    app.register_blueprint(websocket_route.blueprint())
    if site is not None:
        app.register_blueprint(pages(site))

    @app.before_serving
    async def start() -> None:
        await app.nursery.start(run)

    @app.after_serving
    async def stop() -> None:
        await controller.stop()

    app.asgi_app = _origin_form(  # type: ignore[method-assign]
        with_request_log(app.asgi_app, sources.request_id, access_log=access_log)
    )
    return app


class _App(QuartTrio):
    """Quart-Trio's, but it routes a request whatever its Host header is.

    Werkzeug raises if the header cannot be a name in IDNA, before any handler of errors runs.
    No route depends on the host, and `origins` decides which hosts are served.
    """

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        try:
            return super().create_url_adapter(request)
        except BadHost:
            assert request is not None
            return self.url_map.bind(
                "localhost",
                url_scheme=request.scheme,
                default_method=request.method,
                path_info=request.path,
                query_args=request.query_string.decode(),
            )


def _origin_form(app: Any) -> Any:
    """Wrap an ASGI application so that it sees only paths: Quart fails at other targets."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if not scope.get("path", "/").startswith("/"):
            # An absolute URL is legal (RFC 9112, section 3.2.2); its path is what counts, which
            # is "/" if it is empty (section 3.2.1).
            try:
                url = urlsplit(scope["path"])
                path = url.path or ("/" if url.netloc else "")
            except ValueError:
                path = ""
            scope = {**scope, "path": path if path.startswith("/") else _NO_PATH}
        await app(scope, receive, send)

    return wrapped
