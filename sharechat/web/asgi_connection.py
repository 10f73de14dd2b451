"""The Connection over plain ASGI, for every server but `sharechat serve`."""

from collections import deque

import trio
from quart.wrappers import Websocket

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.outcomes import NORMAL, NOT_UTF8, TOO_LARGE, Close

BUFFER = 1 << 16
"""Bytes that may wait in the buffer before `offer` returns False."""

MAX_HELD_BACK = 1 << 18
"""Bytes of memory that the texts of a client that is held back may take."""

_TEXT_OVERHEAD = 100
"""Bytes of memory that a text takes besides its own, about."""

STALL_TIMEOUT = 30
"""Seconds that the ASGI server may take to send one message.

Longer than on a socket of our own, since ASGI does not show how much of it has gone.
"""

CLOSE_TIMEOUT = 1
"""Seconds that the client has to answer a close frame, and to fall silent after it."""

LONGEST_CLOSE = 3
"""Seconds until a close frame that does not get through is given up."""


class AsgiConnection:
    """See `sharechat.domain.ports.Connection`.

    ASGI has no way to send without waiting, so what is offered always waits for `drain`. Pings
    and pongs do not reach an application: the server answers pings, if something reads what the
    client sends, and only it can send them.
    """

    def __init__(self, websocket: Websocket, max_message_bytes: int) -> None:
        self._websocket = websocket
        self._max_message_bytes = max_message_bytes
        self._texts: deque[tuple[str, int]] = deque()
        self._held_back = 0
        self._violation: Close | None = None
        self._peer_gone = False
        self._closing = False
        self._outgoing: deque[bytes] = deque()
        self._backlog = 0

    async def receive(self) -> str:
        if self._texts:
            await trio.lowlevel.checkpoint()
        while not self._texts:
            if self.gone:
                raise ConnectionClosedError
            await self._read()
        text, size = self._texts.popleft()
        self._held_back -= size
        return text

    @property
    def gone(self) -> bool:
        return self._peer_gone or self._violation is not None

    async def pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while not self.gone and self._held_back < MAX_HELD_BACK:
                await self._read()
            if not self.gone:
                await trio.sleep_forever()

    async def _read(self) -> None:
        """Wait for a message, and keep its text."""
        try:
            data = await self._websocket.receive()
        except trio.EndOfChannel:
            self._peer_gone = True
            return
        raw = data.encode() if isinstance(data, str) else data
        if len(raw) > self._max_message_bytes:
            self._violation = TOO_LARGE
            return
        try:
            text = data if isinstance(data, str) else data.decode()
        except UnicodeDecodeError:
            self._violation = NOT_UTF8
            return
        size = len(raw) + _TEXT_OVERHEAD
        self._texts.append((text, size))
        self._held_back += size

    def offer(self, batch: Batch) -> bool:
        if self._closing or self._peer_gone:
            raise ConnectionClosedError
        if self._backlog and self._backlog + batch.size > BUFFER:
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
            if self._closing or self._peer_gone:
                raise ConnectionClosedError
            if not self._outgoing:
                return
            text = self._outgoing[0]
            with trio.move_on_after(STALL_TIMEOUT) as stall:
                await self._websocket.send(text.decode())
            if stall.cancelled_caught:
                # A part of the message may have been sent, so nothing can follow.
                self._peer_gone = True
                continue
            self._outgoing.popleft()
            self._backlog -= len(text)

    async def aclose(self, close: Close | None = None) -> None:
        if self._closing or self._peer_gone:
            self._closing = True
            await trio.lowlevel.checkpoint()
            return
        self._closing = True
        close = self._violation or close or NORMAL
        with trio.move_on_after(LONGEST_CLOSE, shield=True):
            await self._websocket.close(close.code, close.reason)
            # The server ends the connection when we return. If something is unread then, the
            # client is reset, and may never see the close frame.
            with trio.move_on_after(CLOSE_TIMEOUT):
                while not await self._drop():
                    pass

    async def outlast(self) -> None:
        """Drop what a closed client still sends, until it goes or is silent for CLOSE_TIMEOUT.

        To be awaited before the application ends: hypercorn keeps a connection for ever if more
        than ten messages wait for an application that has ended. Cancelling leaves nothing behind.
        """
        over = False
        while not over:
            with trio.move_on_after(CLOSE_TIMEOUT) as silence:
                over = await self._drop()
            over = over or silence.cancelled_caught

    async def _drop(self) -> bool:
        """Drop a message; return whether there was none, because the client has gone."""
        try:
            await self._websocket.receive()
        except trio.EndOfChannel:
            return True
        return False
