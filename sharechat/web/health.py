"""Whether this process is alive, takes members, and can reach what it depends on.

The answers are for machines that may be anybody's, so no text in them names an address.
"""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
import trio
from quart import Blueprint, Response

from sharechat.actors.controller import Controller
from sharechat.domain.errors import UnavailableError
from sharechat.domain.messages import to_json
from sharechat.domain.outcomes import RETRY_AFTER
from sharechat.domain.ports import Queue, Repository


class Liveness(msgspec.Struct, frozen=True):
    """The process is alive: it has answered."""

    status: Literal["ok"]


class Readiness(msgspec.Struct, frozen=True):
    """Whether new members should be sent here.

    `degraded` is ready, too: without the Queue, members on different processes hear one another
    later.
    """

    status: Literal["ready", "degraded", "draining", "unavailable"]
    repository: Literal["ok", "unavailable"]
    queue: Literal["ok", "unavailable"]


class HealthReport(msgspec.Struct, frozen=True):
    """Whether each part works: `ok`, or what is wrong with it."""

    status: Literal["ok", "unavailable"]
    repository: str
    queue: str


class Health:
    """What the health endpoints answer."""

    def __init__(self, controller: Controller, repository: Repository, queue: Queue) -> None:
        self._controller = controller
        self._repository = repository
        self._queue = queue
        self._draining = False

    def drain(self) -> None:
        """Let `/readyz` say no from now on. Everything is served as before."""
        self._draining = True

    def blueprint(self) -> Blueprint:
        api = Blueprint("health", __name__)

        @api.get("/livez")
        async def livez() -> Response:
            return _respond(Liveness("ok"), healthy=True)

        @api.get("/readyz")
        async def readyz() -> Response:
            readiness = await self._readiness()
            return _respond(readiness, healthy=readiness.status in ("ready", "degraded"))

        @api.get("/api/healthz")
        async def healthz() -> Response:
            repository = await _describe(self._repository.check)
            queue = await _describe(self._check_queue)
            healthy = repository == queue == "ok"
            report = HealthReport("ok" if healthy else "unavailable", repository, queue)
            return _respond(report, healthy=healthy)

        return api

    async def _readiness(self) -> Readiness:
        repository = await _state(self._repository.check)
        queue = await _state(self._check_queue)
        if self._draining or not self._controller.rooms.open:
            return Readiness("draining", repository, queue)
        if repository != "ok":
            return Readiness("unavailable", repository, queue)
        return Readiness("ready" if queue == "ok" else "degraded", repository, queue)

    async def _check_queue(self) -> None:
        self._queue.check()
        await trio.lowlevel.checkpoint()


def _respond(answer: msgspec.Struct, *, healthy: bool) -> Response:
    response = Response(to_json(answer), content_type="application/json")
    if not healthy:
        response.status_code = 503
        response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


async def _describe(check: Callable[[], Awaitable[None]]) -> str:
    try:
        await check()
    except UnavailableError as error:
        return str(error)
    return "ok"


async def _state(check: Callable[[], Awaitable[None]]) -> Literal["ok", "unavailable"]:
    return "ok" if await _describe(check) == "ok" else "unavailable"
