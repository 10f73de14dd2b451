"""A member that reads continuously and keeps every byte, and what those bytes mean."""

import json
import time
from contextlib import suppress
from typing import NamedTuple, Self

import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Pong, TextMessage

from tests.harness.deadline import DEADLINE
from tests.harness.http import Json
from tests.harness.peer import Peer, text

PATIENCE = 3 * DEADLINE
"""Seconds that a step may take when hundreds of members share the machine."""

PADDING = "x" * 4000
"""Makes messages large enough to fill the kernel's buffers of a member that does not read."""


class Received(NamedTuple):
    texts: list[str]
    pongs: list[bytes]
    """Their payloads."""
    close_code: int | None


def parse(data: bytes | bytearray) -> Received:
    """Return what a client has received on its websocket."""
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(bytes(data))
    received = Received([], [], None)
    pieces: list[str] = []
    for event in client.events():
        if isinstance(event, TextMessage):
            pieces.append(event.data)
            if event.message_finished:
                received.texts.append("".join(pieces))
                pieces = []
        elif isinstance(event, Pong):
            received.pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            received = received._replace(close_code=int(event.code))
    return received


class Reader:
    """A member that reads continuously, and keeps everything."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.data = bytearray(peer.early)
        self.closed = trio.Event()
        self.closed_at = 0.0
        """By `time.monotonic`; zero while the connection is open."""
        self._marks: dict[bytes, trio.Event] = {}

    @classmethod
    async def open(cls, url: str, nursery: trio.Nursery) -> Self:
        """Join, and read until the nursery ends."""
        reader = cls(await Peer.open(url))
        nursery.start_soon(reader._run)
        await reader.hears(b'"type":"joined"')
        return reader

    async def _run(self) -> None:
        # The socket is closed at the end, since a server that stops waits for that.
        async with self.peer.stream:
            with suppress(trio.BrokenResourceError):
                while data := await self.peer.stream.receive_some(1 << 18):
                    before = max(0, len(self.data) - 200)
                    self.data += data
                    for mark in [mark for mark in self._marks if self.data.find(mark, before) >= 0]:
                        self._marks.pop(mark).set()
            self.closed_at = time.monotonic()
            self.closed.set()

    def next(self, mark: bytes) -> trio.Event:
        """Return an event that is set when these bytes, at most 200, are next received."""
        return self._marks.setdefault(mark, trio.Event())

    async def hears(self, mark: bytes) -> None:
        """Wait until these bytes have been received."""
        if mark not in self.data:
            with trio.fail_after(PATIENCE):
                await self.next(mark).wait()

    async def round_trip(self, words: str) -> float:
        """Say something; return the seconds until the member heard it itself."""
        heard = self.next(f'"{words}:'.encode())
        started = time.monotonic()
        await self.peer.send(text(f"{words}:{PADDING}"))
        with trio.fail_after(PATIENCE):
            await heard.wait()
        return time.monotonic() - started

    def messages(self) -> list[Json]:
        """Return every message received."""
        return [json.loads(message) for message in parse(self.data).texts]

    def close_code(self) -> int | None:
        return parse(self.data).close_code
