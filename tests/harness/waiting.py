"""Polling for a condition that has no event."""

from collections.abc import Callable

import trio


async def until(condition: Callable[[], bool], within: float = 60) -> None:
    """Poll until `condition()` holds. Raises TooSlowError after `within` seconds."""
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.001)
