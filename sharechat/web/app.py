"""The ASGI application: the routes, and the Controller's life within the server's."""

from collections.abc import Awaitable, Callable, Collection

import trio
from quart_cors import cors
from quart_trio import QuartTrio

from sharechat.actors.controller import Controller
from sharechat.ports import Queue, Repository
from sharechat.web import problems
from sharechat.web.admission import Admission
from sharechat.web.heartbeat import Heartbeat
from sharechat.web.rest import ROOM_KEY_HEADER, rest
from sharechat.web.serve import Serve, WebsocketSession

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
    app.register_blueprint(rest(controller, repository, queue))
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

    if allowed_origins:
        cors(
            app,
            allow_origin="*" if "*" in allowed_origins else list(allowed_origins),
            expose_headers=["Link", "Retry-After", ROOM_KEY_HEADER],
        )
    return app
