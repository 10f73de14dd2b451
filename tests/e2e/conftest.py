"""Closes what a test left open."""

from collections.abc import Iterator

import pytest

from tests.harness.peer import close_all


@pytest.fixture(autouse=True)
def _close_peers() -> Iterator[None]:
    yield
    close_all()
