"""Runs one history in a trio run of its own, which replays exactly."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Importing hypothesis makes trio's scheduler deterministic.
import hypothesis  # noqa: F401
import structlog
import trio
from trio._core import _run as trio_run

from tests.simulation.director import Director
from tests.simulation.faults import UnexpectedError
from tests.simulation.history import History
from tests.simulation.invariants import check
from tests.simulation.kernel import simulated_network
from tests.simulation.world import World


@dataclass
class Report:
    """The result of one history."""

    violations: list[str]
    trace: list[tuple[object, ...]]
    seconds: float
    """How long it took by the simulated clock."""
    faults: int
    messages: int


def simulate(history: History) -> Report:
    """Run a history; the same history always gives the same report."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    # Hypothesis always seeds trio's scheduler with the same number, so that every history would
    # run its tasks in the same order. Trio has no public way to seed it.
    trio_run._r.seed(history.seed)
    return trio.run(_simulate, history, clock=clock)


async def _simulate(history: History) -> Report:
    began = trio.current_time()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        world = World(nursery, history.seed)
        with _errors_as_violations(world), world.freezer.installed(), simulated_network():
            await Director(world, history).play()
    left_over = trio.lowlevel.current_statistics().tasks_living - tasks
    if left_over:
        world.report_violation(f"{left_over} tasks are left over")
    return Report(
        [*world.violations, *check(world, history)],
        world.trace,
        trio.current_time() - began,
        len(world.faults.all),
        sum(map(len, world.truth.log.values())),
    )


@contextmanager
def _errors_as_violations(world: World) -> Iterator[None]:
    """Report every error that the actors log as a violation, except those of a fault."""

    def report(_logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
        if UnexpectedError.__name__ in event.get("exception", ""):
            world.note("logged", event["event"])
        else:
            world.report_violation(f"logged: {event}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, report],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
