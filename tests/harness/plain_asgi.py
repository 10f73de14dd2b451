"""The application over hypercorn alone, in the test's own process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from sharechat.bootstrap import build
from sharechat.config import Settings
from tests.harness.deadline import DEADLINE


@asynccontextmanager
async def hypercorn(**settings: Any) -> AsyncIterator[str]:
    """Serve the application over hypercorn; yield its URL."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = 1
    stop = trio.Event()
    in_memory = "database_url" not in settings
    app = build(Settings(in_memory=in_memory, **settings)).app
    async with trio.open_nursery() as nursery:
        start = partial(serve, app, config, shutdown_trigger=stop.wait)
        with trio.fail_after(DEADLINE):
            (url,) = await nursery.start(start)
        try:
            yield url
        finally:
            stop.set()
            nursery.cancel_scope.deadline = trio.current_time() + DEADLINE
    assert not nursery.cancel_scope.cancelled_caught
