"""Freezes processes: none of their tasks runs, as after SIGSTOP."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio
from trio._core import _run as trio_run


class Freezer:
    """Holds back the tasks below some nurseries when trio is about to schedule them.

    What such a task waits for happens all the same: its timers expire, its messages arrive and
    it is cancelled, but it learns of that only when it is thawed. Trio has no public way to hold
    a task back that is ready to run.
    """

    def __init__(self) -> None:
        self._held: dict[trio.Nursery, list[trio.lowlevel.Task]] = {}

    def freeze(self, nursery: trio.Nursery) -> None:
        """Hold back all tasks below a nursery from now on."""
        runner = trio_run.GLOBAL_RUN_CONTEXT.runner
        self._held[nursery] = []
        ready = list(runner.runq)
        runner.runq.clear()
        for task in ready:
            self._queue_for(task, runner).append(task)

    def thaw(self, nursery: trio.Nursery) -> None:
        """Let the tasks below a nursery run again, in the order in which they became ready."""
        held = self._held.pop(nursery)
        trio_run.GLOBAL_RUN_CONTEXT.runner.runq.extend(held)

    def _queue_for(self, task: trio.lowlevel.Task, runner: trio_run.Runner) -> Any:
        """Return where a task that is ready belongs: to those held back, or to trio's own queue."""
        nursery = task.parent_nursery
        while nursery is not None:
            if nursery in self._held:
                return self._held[nursery]
            nursery = nursery.parent_task.parent_nursery
        return runner.runq

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make trio ask this freezer about each task that becomes ready."""
        reschedule = trio_run.Runner.reschedule

        def hold(runner: trio_run.Runner, task: trio.lowlevel.Task, *next_send: Any) -> None:
            reschedule(runner, task, *next_send)
            if self._held and (queue := self._queue_for(task, runner)) is not runner.runq:
                queue.append(runner.runq.pop())

        trio_run.Runner.reschedule = hold  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            trio_run.Runner.reschedule = reschedule  # type: ignore[method-assign]
