"""A test that takes too long fails, and the run goes on with the next one.

An alarm interrupts the test as Ctrl-C would: trio then cancels all tasks and ends in order. It
could not if the alarm raised something else, since that would happen inside of trio as a rule.
Time limits of trio's own do not help where a test has set the clock.
"""

import signal
from collections.abc import Generator

import pytest

LIMIT = 60
"""Seconds that a test may take, unless it is marked with another `time_limit`."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "time_limit(seconds): how long a test may take")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    marker = item.get_closest_marker("time_limit")
    limit = marker.args[0] if marker else LIMIT
    rang = False

    def interrupt(*_: object) -> None:
        nonlocal rang
        rang = True
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        if rang:
            raise TimeoutError(f"the test took more than {limit} seconds") from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
