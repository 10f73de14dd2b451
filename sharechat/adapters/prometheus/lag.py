"""How late the event loop is."""

from typing import NoReturn

import trio

from sharechat.adapters.prometheus.figures import Histogram

_PERIOD = 0.25
"""Seconds between two looks; what holds the loop up for less may go unseen, but not for long."""


async def watch_lag(lag: Histogram) -> NoReturn:
    """Add to `lag` how late each timer fires, until cancelled."""
    while True:
        due = trio.current_time() + _PERIOD
        await trio.sleep_until(due)
        lag.add(trio.current_time() - due)
