"""One history from beginning to end, in a trio run of its own that replays exactly."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Importing it makes trio's scheduler deterministic.
import hypothesis  # noqa: F401
import structlog
import trio
from trio._core import _run as trio_run

from tests.simulation.director import Director
from tests.simulation.history import History
from tests.simulation.invariants import check
from tests.simulation.world import World


@dataclass
class Report:
    """What came of a history."""

    violations: list[str]
    trace: list[tuple[object, ...]]
    seconds: float
    """Of the simulated clock."""
    faults: int
    messages: int


def simulate(history: History) -> Report:
    """Play a history; the same one always gives the same report."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    # Not seeded by hypothesis alone, which would have every history run in the same order.
    trio_run._r.seed(history.seed)
    return trio.run(_simulate, history, clock=clock)


async def _simulate(history: History) -> Report:
    began = trio.current_time()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        world = World(nursery, history.seed)
        with _overheard(world):
            await Director(world, history).play()
    left_over = trio.lowlevel.current_statistics().tasks_living - tasks
    if left_over:
        world.accuse(f"{left_over} tasks are left over")
    return Report(
        [*world.violations, *check(world)],
        world.trace,
        trio.current_time() - began,
        len(world.faults.all),
        sum(map(len, world.truth.log.values())),
    )


@contextmanager
def _overheard(world: World) -> Iterator[None]:
    """Take what the actors log as an error for one."""

    def overhear(_logger: Any, _method: str, event: structlog.typing.EventDict) -> str:
        world.accuse(f"logged: {event}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.format_exc_info, overhear],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
