"""Waiting, by the test's clock, for what no event tells of."""

from collections.abc import Callable

import trio


async def until(true: Callable[[], bool], within: float = 60) -> None:
    """Wait until `true()`. Raises TooSlowError after `within` seconds."""
    with trio.fail_after(within):
        while not true():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.001)
