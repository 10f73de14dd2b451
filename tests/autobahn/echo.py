"""An echo over the real stack: the acceptor, the handshake, the Decoder and DirectConnection.

What a client sends is sent back as the same kind of message, text or binary.
"""

import socket
from contextlib import ExitStack
from typing import Any

import trio

from sharechat.domain.batch import Batch
from sharechat.domain.errors import ConnectionClosedError
from sharechat.net.acceptor import serve
from sharechat.net.admission import Admission
from sharechat.net.decoder import Decoder
from sharechat.net.deflate import negotiate
from sharechat.net.direct_connection import DirectConnection
from sharechat.net.frames import TEXT, frame
from sharechat.net.handover import find_handover
from sharechat.net.handshake import elements

_BINARY = 0x2

_LIMIT = 1 << 25
"""Bytes that a message may have; the suite sends 16 MiB."""

_MARK = "\ud800"
"""Begins each text that was a binary message; no text can hold it (RFC 3629, section 3)."""


def _to_text(binary: bytes) -> str:
    return _MARK + binary.decode("latin-1")


class _Echo(Batch):
    """One message, as the frame that sends it back."""

    __slots__ = ("_frame",)

    def __init__(self, said: str) -> None:
        super().__init__([])
        if said.startswith(_MARK):
            self._frame = frame(_BINARY, said[1:].encode("latin-1"))
        else:
            self._frame = frame(TEXT, said.encode())

    def once(self, encode: Any) -> Any:
        return self._frame


async def _serve(connection: DirectConnection) -> None:
    try:
        while True:
            said = await connection.receive()
            while not connection.offer(_Echo(said)):
                await connection.drain()
            await connection.drain()
    except ConnectionClosedError:
        pass
    finally:
        await connection.aclose()


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Accept every handshake, as the route of sharechat does."""
    handover = find_handover(scope)
    assert handover is not None
    name = b"sec-websocket-extensions"
    agreed = negotiate([", ".join(elements(scope["headers"], name))])
    headers = [(name, agreed.answer.encode())] if agreed else []
    await send({"type": "websocket.accept", "headers": headers})
    handover.take(Decoder(agreed, _LIMIT, binary=_to_text), _serve, ExitStack())


async def run(listener: socket.socket) -> None:
    """Echo on a listening socket until cancelled."""
    await serve(
        _app,
        Admission(max_members=1000, max_per_address=1000),
        listener,
        until=trio.sleep_forever,
        drain=trio.lowlevel.checkpoint,
    )
