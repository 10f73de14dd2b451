"""The ASGI application: the routes, and the Controller's life within the server's."""

from collections.abc import Awaitable, Callable, Collection
from typing import Any
from urllib.parse import urlsplit

import trio
from quart_cors import cors
from quart_trio import QuartTrio

from sharechat.actors.controller import Controller
from sharechat.domain.ports import Queue, Repository
from sharechat.net.admission import Admission
from sharechat.net.heartbeat import Heartbeat
from sharechat.web import problems
from sharechat.web.rest import ROOM_KEY_HEADER, rest
from sharechat.web.websocket import Serve, WebsocketSession

_MAX_BODY_BYTES = 16 * 1024
"""No endpoint reads a body."""


def make_app(
    controller: Controller,
    repository: Repository,
    queue: Queue,
    *,
    admission: Admission,
    allowed_origins: Collection[str],
    max_message_bytes: int,
    prepare: Callable[[], Awaitable[None]],
    clean_up: Callable[[], Awaitable[None]],
) -> QuartTrio:
    """Return the application over these parts.

    It runs the Controller from ASGI's lifespan startup to its shutdown, with `prepare`
    before and `clean_up` after.
    """
    heartbeat = Heartbeat()
    app = QuartTrio("sharechat", static_folder=None)
    app.asgi_websocket_class = WebsocketSession
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
    problems.install(app)
    api = rest(controller, repository, queue)
    if allowed_origins:
        # Not for the websocket, whose origins have a rule of their own.
        cors(
            api,
            allow_origin="*" if "*" in allowed_origins else list(allowed_origins),
            expose_headers=["Link", "Retry-After", ROOM_KEY_HEADER],
        )
    app.register_blueprint(api)
    app.register_blueprint(
        Serve(
            controller,
            repository,
            admission,
            heartbeat,
            allowed_origins=allowed_origins,
            max_message_bytes=max_message_bytes,
        ).routes()
    )

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heartbeat.run)
            await controller.run(task_status=task_status)
            nursery.cancel_scope.cancel()

    @app.before_serving
    async def start() -> None:
        await prepare()
        await app.nursery.start(run)

    @app.after_serving
    async def stop() -> None:
        await controller.stop()
        await clean_up()

    app.asgi_app = _origin_form(app.asgi_app)  # type: ignore[method-assign]
    return app


def _origin_form(app: Any) -> Any:
    """Give an ASGI application nothing but paths: Quart fails at some other request targets."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if not scope.get("path", "/").startswith("/"):
            # An absolute URL is legal (RFC 9112, section 3.2.2); its path is what counts.
            try:
                path = urlsplit(scope["path"]).path
            except ValueError:
                path = ""
            scope = {**scope, "path": path if path.startswith("/") else "/"}
        await app(scope, receive, send)

    return wrapped
