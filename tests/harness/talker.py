"""A member over trio-websocket, as a well-behaved client would be."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import urlsplit

import pytest
import trio
from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

from tests.harness.deadline import DEADLINE
from tests.harness.http import Json
from tests.harness.sockets import reset_on_close
from tests.harness.tls import ClientStream, TlsStream


class Talker:
    """A member; hearing or saying a message takes DEADLINE at most."""

    def __init__(self, stream: ClientStream, websocket: WebSocketConnection) -> None:
        self._stream = stream
        self.websocket = websocket

    async def hear(self) -> Json:
        """Return the next message. Raises ConnectionClosed."""
        with trio.fail_after(DEADLINE):
            return await self.wait_and_hear()

    async def wait_and_hear(self) -> Json:
        """Return the next message, however long it takes to come. Raises ConnectionClosed.

        Closes the socket once the server has closed the websocket, since the server waits for it.
        """
        try:
            message: Json = json.loads(await self.websocket.get_message())
        except ConnectionClosed:
            await self._stream.aclose()
            raise
        return message

    async def hear_type(self, *types: str) -> Json:
        """Return the next message of one of these types, skipping others."""
        while (message := await self.hear())["type"] not in types:
            pass
        return message

    async def hear_chat(self) -> Json:
        """Return the next chat message, skipping others."""
        return await self.hear_type("chat")

    async def hear_chats(self, count: int) -> list[str]:
        """Return the texts of the next `count` chat messages."""
        return [(await self.hear_chat())["message"] for _ in range(count)]

    async def say(self, message: str | bytes) -> None:
        with trio.fail_after(DEADLINE):
            await self.websocket.send_message(message)

    async def close(self) -> None:
        """Close with a closing handshake."""
        with trio.fail_after(DEADLINE):
            await self.websocket.aclose()

    async def close_code(self) -> int:
        """Read to the end; return the server's close code, 1006 if there was none."""
        try:
            while True:
                await self.hear()
        except ConnectionClosed as error:
            return 1006 if error.reason is None else error.reason.code

    async def hear_close(self) -> CloseReason:
        """Return the server's close, which must be the next thing that it sends."""
        with pytest.raises(ConnectionClosed) as caught:
            await self.hear()
        assert caught.value.reason is not None
        return caught.value.reason

    async def drop(self) -> None:
        """Reset the connection, without a closing handshake."""
        reset_on_close(self._stream)
        await self._stream.aclose()


async def join(
    nursery: trio.Nursery,
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    subprotocols: Sequence[str] = (),
    local_address: str | None = None,
) -> Talker:
    """Join a room until the nursery ends, from `local_address` if that matters.

    Raises trio_websocket.ConnectionRejected.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    resource = f"{parts.path}?{parts.query}" if parts.query else parts.path
    with trio.fail_after(DEADLINE):
        tcp = await trio.open_tcp_stream(parts.hostname, parts.port, local_address=local_address)
        stream = TlsStream(tcp) if parts.scheme == "wss" else tcp
        start = partial(_run, stream, parts.netloc, resource, headers or {}, subprotocols)
        websocket: WebSocketConnection = await nursery.start(start)
    return Talker(stream, websocket)


async def _run(
    stream: ClientStream,
    host: str,
    resource: str,
    headers: Mapping[str, str],
    subprotocols: Sequence[str],
    task_status: trio.TaskStatus[WebSocketConnection],
) -> None:
    """Run a websocket until cancelled. A refusal is raised bare, not in an exception group."""
    more = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        async with trio.open_nursery() as nursery:
            websocket = await wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type] # it can be any Stream
                host,
                resource,
                subprotocols=subprotocols,
                extra_headers=more,
            )
            task_status.started(websocket)
            await trio.sleep_forever()
    except BaseExceptionGroup as group:
        refusal = group.subgroup(ConnectionRejected)
        raise (group if refusal is None else refusal.exceptions[0]) from None
    finally:
        stream.socket.close()
