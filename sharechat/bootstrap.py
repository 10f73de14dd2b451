"""The composition root: the one place that knows every part and puts them together."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import trio
from quart_trio import QuartTrio

from sharechat.actors.controller import Controller
from sharechat.adapters.memory import MemoryBus, MemoryRepository
from sharechat.config import Settings
from sharechat.domain.ports import Queue, Repository
from sharechat.net.admission import Admission
from sharechat.web.app import make_app


async def _nothing() -> None:
    await trio.lowlevel.checkpoint()


class Parts(NamedTuple):
    """What the actors stand on; `prepare` comes before its use, `clean_up` after."""

    repository: Repository
    queue: Queue
    prepare: Callable[[], Awaitable[None]] = _nothing
    clean_up: Callable[[], Awaitable[None]] = _nothing


def make_parts(settings: Settings) -> Parts:
    """Return the adapters that the settings ask for. Raises ValueError for a wrong URL."""
    if not (settings.database_url and settings.redis_url):
        return Parts(MemoryRepository(), MemoryBus().queue())
    # Embedded servers need not wait until these are imported.
    from sharechat.adapters.postgres import PostgresRepository, migrate
    from sharechat.adapters.redis import RedisQueue

    repository = PostgresRepository(settings.database_url)
    return Parts(
        repository,
        RedisQueue(settings.redis_url),
        prepare=partial(migrate, settings.database_url),
        clean_up=repository.aclose,
    )


def create_app(settings: Settings | None = None, parts: Parts | None = None) -> QuartTrio:
    """Return the ASGI application; its `extensions` hold the "controller",
    the "admission" and the "repository".

    Without `settings` they are read from the environment, so that any ASGI server for
    trio can be given `sharechat.bootstrap:create_app()`. Tests pass parts of their own.
    """
    settings = settings or Settings.from_environment()
    parts = parts or make_parts(settings)
    controller = Controller(parts.repository, parts.queue, settings.policy())
    admission = Admission(settings.max_per_address, settings.trusted_proxy)
    app = make_app(
        controller,
        parts.repository,
        parts.queue,
        admission=admission,
        allowed_origins=settings.allowed_origin,
        max_message_bytes=settings.max_message_bytes,
        prepare=parts.prepare,
        clean_up=parts.clean_up,
    )
    app.extensions["controller"] = controller
    app.extensions["admission"] = admission
    app.extensions["repository"] = parts.repository
    return app
