"""The composition root: the one place that knows every part and puts them together."""

from quart_trio import QuartTrio

from sharechat.actors.controller import Controller
from sharechat.adapters.memory import MemoryBus, MemoryRepository
from sharechat.config import Settings
from sharechat.ports import Queue, Repository
from sharechat.web.app import make_app


def create_app(
    settings: Settings | None = None,
    *,
    repository: Repository | None = None,
    queue: Queue | None = None,
) -> QuartTrio:
    """Return the ASGI application.

    Without `settings` they are read from the environment, so that any ASGI server for
    trio can be given `sharechat.bootstrap:create_app()`. Tests pass parts of their own.
    Its Controller is `app.extensions["controller"]`.
    """
    settings = settings or Settings.from_environment()
    repository = repository or MemoryRepository()
    queue = queue or MemoryBus().queue()
    controller = Controller(repository, queue, settings.policy())
    app = make_app(
        controller,
        repository,
        queue,
        allowed_origins=settings.allowed_origin,
        max_message_bytes=settings.max_message_bytes,
    )
    app.extensions["controller"] = controller
    return app
