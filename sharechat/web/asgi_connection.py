"""The Connection over plain ASGI, for every server that has no Transport for us."""

from collections.abc import Sequence

import trio
from quart.wrappers import Websocket

from sharechat.domain.errors import ConnectionClosedError
from sharechat.domain.messages import Batch
from sharechat.domain.outcomes import NOT_UTF8, TOO_LARGE, Close

_CLOSE_TIMEOUT = 3
"""Seconds until a closing handshake that does not get through is given up."""

_NORMAL = Close(1000, "", True)


class AsgiConnection:
    """One `websocket.receive` or `websocket.send` a message; see `domain.ports.Connection`.

    ASGI cannot tell whether a send would wait, so `send_nowait` always says that it would.
    """

    def __init__(self, websocket: Websocket, max_message_bytes: int) -> None:
        self._websocket = websocket
        self._max_message_bytes = max_message_bytes
        self._violation: Close | None = None
        self._closed = False

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

    def send_nowait(self, batch: Batch) -> None:  # noqa: ARG002 - the port has it
        raise trio.WouldBlock

    async def send(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for text in batch.json:
                # A server may drop what is sent after the end without ever waiting.
                await trio.lowlevel.checkpoint()
                if self._closed:
                    raise ConnectionClosedError
                await self._websocket.send(text.decode())

    def beat(self, now: float) -> None:
        """The server pings, if it does; ASGI does not tell of pongs."""

    async def aclose(self, close: Close | None = None) -> None:
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        close = self._violation or close or _NORMAL
        with trio.move_on_after(_CLOSE_TIMEOUT, shield=True):
            await self._websocket.close(close.code, close.reason)
