"""A member for tests that are not asynchronous: every call blocks, for DEADLINE at most."""

import json
from contextlib import ExitStack
from typing import Self

from websockets.sync.client import connect

from tests.harness.deadline import DEADLINE
from tests.harness.http import Json


class SyncMember:
    """Someone else in the room, over a plain websocket. As a context manager it leaves."""

    def __init__(self, base: str, room_id: str) -> None:
        url = f"{base.replace('http', 'ws', 1)}/api/serve/{room_id}"
        self._connected = ExitStack()
        self._websocket = self._connected.enter_context(
            # Whatever it does not read has to leave room for the server's close frame.
            connect(url, open_timeout=DEADLINE, proxy=None, max_queue=None)
        )
        self.joined = self.hear()
        """Its own `joined`."""

    @property
    def name(self) -> str:
        name: str = self.joined["memberName"]
        return name

    def say(self, text: str) -> None:
        self._websocket.send(text)

    def hear(self) -> Json:
        """Return the next message. Raises TimeoutError, and ConnectionClosed of websockets."""
        message: Json = json.loads(self._websocket.recv(DEADLINE))
        return message

    def hear_chat(self) -> str:
        """Return the text of the next chat message, skipping others."""
        while (message := self.hear())["type"] != "chat":
            pass
        text: str = message["message"]
        return text

    def leave(self) -> None:
        self._connected.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
