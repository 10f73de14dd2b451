"""What is logged is kept, so that a test can ask for it, instead of printed."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog

Logs = list[MutableMapping[str, Any]]


@pytest.fixture(autouse=True)
def logs() -> Iterator[Logs]:
    """Return all that is logged during the test, as structlog's event dicts."""
    with structlog.testing.capture_logs() as captured:
        yield captured
