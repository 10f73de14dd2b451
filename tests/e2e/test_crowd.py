"""A thousand members in one room: some drop their connections while others talk."""

import hashlib
import json

import pytest
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage
from wsproto.frame_protocol import Opcode

from tests.harness.deadline import DEADLINE, eventually
from tests.harness.http import Json, history, make_room, members, texts
from tests.harness.peer import Peer, frame, text
from tests.harness.process import SharechatProcess

CROWD, TALKERS, DROPPERS, WORDS = 1000, 20, 20, 5
"""How many members, talkers and droppers among them, and messages of each talker."""

UNLIMITED = ("--max-members", "5000", "--max-per-address", "5000")
_END = "this is the end"

_PING = b"\x89\x00"
"""It comes to each member at another time. No message here has these bytes."""

_PONG = frame(Opcode.PONG, b"")


class DigestReader:
    """Reads up to the last message, and keeps a digest: a thousand copies take too much memory."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.digest = hashlib.blake2b()
        self.heard = 0
        self._tail = b""
        self._cut = b""
        self._sending = trio.Lock()
        self.take(peer.early)

    async def read(self) -> None:
        while not (_END.encode() in self._tail and self._tail.endswith(b"}")):
            with trio.fail_after(3 * DEADLINE):
                data = await self.peer.stream.receive_some(65_536)
            assert data, "the server closed the connection"
            if _PING in data:  # On a busy machine this takes so long that silence counts as death.
                await self.send(_PONG)
            self.take(data)

    async def send(self, data: bytes) -> None:
        async with self._sending:
            await self.peer.send(data)

    def take(self, data: bytes) -> None:
        data = self._cut + data
        self._cut = data[-1:] if data.endswith(_PING[:1]) else b""
        self.keep(data.removesuffix(self._cut).replace(_PING, b""))

    def keep(self, data: bytes) -> None:
        """Take what is not a ping."""
        self.digest.update(data)
        self.heard += len(data)
        self._tail = (self._tail + data)[-600:]


class RecordingReader(DigestReader):
    """Keeps the messages as well."""

    def __init__(self, peer: Peer) -> None:
        self.data = bytearray()
        super().__init__(peer)

    def keep(self, data: bytes) -> None:
        super().keep(data)
        self.data += data


@pytest.mark.time_limit(300)
@pytest.mark.usefixtures("many_files")
async def test_a_thousand_members_hear_every_message_in_the_same_order() -> None:
    with SharechatProcess("--log-level", "warning", *UNLIMITED) as server:
        room = make_room(server.url)
        witness = RecordingReader(await Peer.open(server.ws_url(room)))
        readers: list[DigestReader] = [witness]
        droppers: list[Peer] = []
        async with trio.open_nursery() as reading:
            limit = trio.CapacityLimiter(50)
            async with trio.open_nursery() as joining:

                async def arrive(drops: bool) -> None:
                    async with limit:
                        peer = await Peer.open(server.ws_url(room))
                    if drops:
                        droppers.append(peer)
                    else:
                        readers.append(DigestReader(peer))

                for number in range(CROWD - 1):
                    joining.start_soon(arrive, number < DROPPERS)
            await members_reach(server, room, CROWD)
            # Read only now, in large pieces: to read every `joined` as it comes takes long.
            for reader in readers:
                reading.start_soon(reader.read)

            async with trio.open_nursery() as talking:
                for number, reader in enumerate(readers[:TALKERS]):
                    talking.start_soon(talk, reader, number)
                for dropper in droppers:
                    await trio.lowlevel.checkpoint()
                    dropper.drop()
            await members_reach(server, room, CROWD - DROPPERS)
            await readers[0].send(text(_END))

        everything = history(server.url, room)
        assert parse_messages(bytes(witness.data)) == everything
        for reader in readers:
            # Each heard the same as the witness, from its own joining on.
            suffix = bytes(witness.data[-reader.heard :])
            assert hashlib.blake2b(suffix).digest() == reader.digest.digest()
        assert_complete(everything)
        for reader in readers:
            reader.peer.drop()
        await members_reach(server, room, 0)
        assert server.stop() == 0


def assert_complete(everything: list[Json]) -> None:
    types = [message["type"] for message in everything]
    assert types.count("joined") == CROWD
    assert types.count("left") == DROPPERS
    said = texts(everything)
    assert len(said) == TALKERS * WORDS + 1
    for number in range(TALKERS):
        mine = [words for words in said if words.startswith(f"{number}:")]
        assert mine == [f"{number}: {word}" for word in range(WORDS)]


def parse_messages(data: bytes) -> list[Json]:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    messages = []
    for event in client.events():
        assert isinstance(event, TextMessage)
        assert event.message_finished
        messages.append(json.loads(event.data))
    return messages


async def talk(member: DigestReader, number: int) -> None:
    for word in range(WORDS):
        await member.send(text(f"{number}: {word}"))
        await trio.lowlevel.checkpoint()


async def members_reach(server: SharechatProcess, room: str, count: int) -> None:
    await eventually(lambda: len(members(server.url, room)) == count, 3 * DEADLINE)
