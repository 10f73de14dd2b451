"""Captures the log of each test instead of printing it."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

Logs = list[MutableMapping[str, Any]]


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    """Return everything logged during the test so far, as structlog's event dicts."""
    with structlog.testing.capture_logs() as captured:
        yield captured
