"""The composition root: the one place that knows every part and puts them together."""

import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

import structlog
import trio
from quart_trio import QuartTrio

from sharechat import logs
from sharechat.actors.controller import Controller
from sharechat.adapters.memory import MemoryBus, MemoryRepository
from sharechat.config import Settings
from sharechat.domain.errors import SharechatError
from sharechat.domain.ports import Queue, Repository
from sharechat.domain.sources import Sources
from sharechat.domain.telemetry import SILENT, Level, Telemetry
from sharechat.net.admission import Admission
from sharechat.web.app import make_app
from sharechat.web.health import Health
from sharechat.web.pages import Site
from sharechat.web.websocket import WebsocketRoute

log = structlog.get_logger()


async def _nothing() -> None:
    await trio.lowlevel.checkpoint()


@dataclass(frozen=True)
class Stores:
    """What the actors keep their rooms in; `prepare` comes before its use, `clean_up` after."""

    repository: Repository
    queue: Queue
    prepare: Callable[[], Awaitable[object]] = _nothing
    clean_up: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True)
class Server:
    """All parts of one server, each built once."""

    stores: Stores
    controller: Controller
    admission: Admission
    health: Health
    app: QuartTrio
    telemetry: Telemetry = SILENT

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Prepare the stores and run the actors, until the Controller is stopped.

        Reports that it has started once members can be served. Raises SharechatError if the
        stores cannot be used.
        """
        try:
            await self.stores.prepare()
            await self.controller.run(task_status=task_status)
        finally:
            await self.stores.clean_up()

    async def serve_metrics(self, listener: socket.socket, *, is_worker: bool) -> None:
        """Show the metrics on a listening socket until cancelled: over HTTP, or to the parent.

        Does nothing if none are counted.
        """
        from sharechat.adapters.prometheus import PrometheusTelemetry, serve_http, serve_worker

        if isinstance(self.telemetry, PrometheusTelemetry):
            serve = serve_worker if is_worker else serve_http
            await serve(self.telemetry, listener)


def open_telemetry(settings: Settings) -> Telemetry:
    """Return what counts the metrics, if the settings ask for them."""
    if settings.metrics is None:
        return SILENT
    from sharechat.adapters.prometheus import PrometheusTelemetry

    return PrometheusTelemetry(version("sharechat"))


def open_stores(settings: Settings, telemetry: Telemetry = SILENT) -> Stores:
    """Return the adapters that the settings ask for, without any I/O.

    Raises ValueError, with a sentence for the user, if a URL is wrong.
    """
    # What a server does not use is not imported.
    if not (settings.database_url and settings.redis_url):
        queue = MemoryBus().queue()
        if settings.in_memory:
            memory = MemoryRepository(max_bytes=settings.max_memory)
            telemetry.watch(Level.SPACE_USED, lambda: memory.used_bytes)
            telemetry.watch(Level.SPACE_LIMIT, lambda: settings.max_memory)
            return Stores(memory, queue)
        from sharechat.adapters.sqlite import SqliteRepository

        sqlite = SqliteRepository(settings.data_file, max_bytes=settings.max_data)
        telemetry.watch(Level.SPACE_USED, lambda: sqlite.used_bytes)
        telemetry.watch(Level.SPACE_LIMIT, lambda: settings.max_data)
        return Stores(sqlite, queue, prepare=sqlite.prepare, clean_up=sqlite.aclose)
    from sharechat.adapters.postgres import PostgresRepository, migrate
    from sharechat.adapters.redis import open_queue

    postgres = PostgresRepository(settings.database_url)
    return Stores(
        postgres,
        open_queue(settings.redis_url, telemetry),
        prepare=partial(migrate, settings.database_url),
        clean_up=postgres.aclose,
    )


def build(
    settings: Settings, stores: Stores | None = None, sources: Sources | None = None
) -> Server:
    """Put a server together. Tests pass stores and sources of their own.

    Raises ValueError, with a sentence for the user, if a URL is wrong.
    """
    telemetry = open_telemetry(settings)
    stores = stores or open_stores(settings, telemetry)
    sources = sources or Sources()
    controller = Controller(stores.repository, stores.queue, settings.policy(), sources, telemetry)
    admission = Admission(
        max_members=settings.max_members,
        max_per_address=settings.max_per_address,
        room_rate=settings.room_rate,
        join_rate=settings.join_rate,
        message_rate=settings.message_rate,
        message_burst=settings.message_burst,
        trusted_proxies=settings.trusted_proxy,
    )

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await server.run(task_status=task_status)
        except (SharechatError, ValueError):
            raise  # It could not start, which the ASGI server is told.
        except Exception:
            # The ASGI server would go on, and every request would get a 503.
            log.exception("the actors failed, ending the process")
            signal.raise_signal(signal.SIGTERM)
            raise

    websocket_route = WebsocketRoute(
        controller,
        stores.repository,
        admission,
        max_message_bytes=settings.max_message_bytes,
        telemetry=telemetry,
    )
    health = Health(controller, stores.repository, stores.queue)
    app = make_app(
        controller,
        stores.repository,
        health,
        websocket_route,
        sources=sources,
        admit_room=admission.admit_room,
        allowed_origins=settings.allowed_origin,
        allowed_hosts=settings.allowed_host,
        site=None if settings.no_page else Site.from_package(),
        access_log=settings.access_log,
        run=run,
        telemetry=telemetry,
    )
    server = Server(stores, controller, admission, health, app, telemetry)
    return server


def create_app() -> QuartTrio:
    """Return the ASGI application that the environment variables configure, logging included.

    For any ASGI server that runs on trio, such as `hypercorn -k trio
    "sharechat.bootstrap:create_app()"`. Raises click.UsageError if a variable is wrong.
    """
    settings = Settings.from_environment()
    logs.configure(settings.log_level, json=settings.log_json)
    return build(settings).app
