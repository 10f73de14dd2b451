"""The Connection over plain ASGI, for every server but `sharechat serve`."""

from collections import deque

import trio
from quart.wrappers import Websocket

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import NORMAL, NOT_UTF8, TOO_LARGE, Close

_BUFFER = 1 << 16
"""Bytes that may wait in the buffer before `offer` returns False."""

_CLOSE_TIMEOUT = 3
"""Seconds until a closing handshake that does not get through is given up."""


class AsgiConnection:
    """See `sharechat.domain.ports.Connection`.

    ASGI has no way to send without waiting, so what is offered always waits for `drain`. Nor
    does it show whether the client reads: `drain` waits for as long as the ASGI server does.
    """

    def __init__(self, websocket: Websocket, max_message_bytes: int) -> None:
        self._websocket = websocket
        self._max_message_bytes = max_message_bytes
        self._violation: Close | None = None
        self._closed = False
        self._outgoing: deque[bytes] = deque()
        self._backlog = 0

    async def receive(self) -> str:
        if self._violation:
            raise ConnectionClosedError
        try:
            data = await self._websocket.receive()
        except trio.EndOfChannel:
            self._closed = True
            raise ConnectionClosedError from None
        raw = data.encode() if isinstance(data, str) else data
        if len(raw) > self._max_message_bytes:
            self._violation = TOO_LARGE
            raise ConnectionClosedError
        try:
            return data if isinstance(data, str) else data.decode()
        except UnicodeDecodeError:
            self._violation = NOT_UTF8
            raise ConnectionClosedError from None

    @property
    def gone(self) -> bool:
        return self._closed

    async def pause(self, seconds: float) -> None:
        # The server answers pings; it reads on until its own buffer is full.
        await trio.sleep(seconds)

    def offer(self, batch: Batch) -> bool:
        if self._closed:
            raise ConnectionClosedError
        if self._backlog and self._backlog + batch.size > _BUFFER:
            return False
        self._outgoing.extend(batch.json)
        self._backlog += batch.size
        return True

    @property
    def backlog(self) -> int:
        return self._backlog

    async def drain(self) -> None:
        while True:
            # A server may drop what is sent after the end without ever waiting.
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise ConnectionClosedError
            if not self._outgoing:
                return
            text = self._outgoing[0]
            await self._websocket.send(text.decode())
            self._outgoing.popleft()
            self._backlog -= len(text)

    async def aclose(self, close: Close | None = None) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        close = self._violation or close or NORMAL
        with trio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await self._websocket.close(close.code, close.reason)
