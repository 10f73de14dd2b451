"""Cancelling a piece of work at every step that it takes."""

from collections.abc import Awaitable, Callable

import trio


class _CancelAtStep(trio.abc.Instrument):
    """Cancels a scope just before the n-th step of the task that created this."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._task = trio.lowlevel.current_task()
        self._scope = scope
        self._steps = steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._steps -= 1
            if self._steps == 0:
                self._scope.cancel()


async def cancel_at_every_step(
    work: Callable[[], Awaitable[object]], check: Callable[[], Awaitable[object]]
) -> None:
    """Run `work` again and again, cancelled at its first step, its second step and so on.

    Calls `check` after each run, and returns after the first run that was not cancelled.
    """
    for steps in range(1, 1000):
        with trio.CancelScope() as scope:
            instrument = _CancelAtStep(scope, steps)
            trio.lowlevel.add_instrument(instrument)
            try:
                await work()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        await check()
        if not scope.cancelled_caught:
            return
    raise AssertionError("the work does not end within 1,000 steps")
