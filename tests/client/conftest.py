"""Rooms on a server without a limit on the message rate."""

import pytest

from tests.harness.http import make_room
from tests.harness.process import SharechatProcess


@pytest.fixture(name="chat_room")
def _chat_room(unlimited: SharechatProcess) -> str:
    return make_room(unlimited.url)


@pytest.fixture(name="address")
def _address(unlimited: SharechatProcess, chat_room: str) -> str:
    return f"{unlimited.url}/room/{chat_room}"
