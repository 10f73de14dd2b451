"""A thousand members in one room, of whom some go without a word while others talk."""

import hashlib
import json
import resource
from collections.abc import Iterator

import pytest
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

from tests.harness.deadline import DEADLINE, eventually
from tests.harness.http import Json, fetch, history, make_room, texts
from tests.harness.peer import Peer, text
from tests.harness.process import SharechatProcess

CROWD, TALKERS, DROPPERS, WORDS = 1000, 20, 20, 5
UNLIMITED = ("--max-members", "5000", "--max-per-address", "5000")
_END = "this is the end"


@pytest.fixture(name="files")
def _files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Ear:
    """Hears to the end. What it heard is kept as a digest: a thousand copies are too many."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.digest = hashlib.blake2b()
        self.heard = 0
        self.take(peer.early)

    async def listen(self) -> None:
        tail = b""
        while not (_END.encode() in tail and tail.endswith(b"}")):
            with trio.fail_after(3 * DEADLINE):
                data = await self.peer.stream.receive_some(65_536)
            assert data, "it was closed"
            self.take(data)
            tail = (tail + data)[-600:]

    def take(self, data: bytes) -> None:
        self.digest.update(data)
        self.heard += len(data)


class Witness(Ear):
    """Keeps every byte."""

    def __init__(self, peer: Peer) -> None:
        self.data = bytearray()
        super().__init__(peer)

    def take(self, data: bytes) -> None:
        super().take(data)
        self.data += data


@pytest.mark.usefixtures("files")
async def test_a_crowd() -> None:
    with SharechatProcess("--log-level", "warning", *UNLIMITED) as server:
        room = make_room(server.url)
        witness = Witness(await Peer.open(server.ws_url(room)))
        ears: list[Ear] = [witness]
        droppers: list[Peer] = []
        async with trio.open_nursery() as listening:
            gate = trio.CapacityLimiter(50)
            async with trio.open_nursery() as arriving:

                async def arrive(drops: bool) -> None:
                    async with gate:
                        peer = await Peer.open(server.ws_url(room))
                    if drops:
                        droppers.append(peer)
                    else:
                        ears.append(Ear(peer))

                for number in range(CROWD - 1):
                    arriving.start_soon(arrive, number < DROPPERS)
            await members(server, room, CROWD)
            # Only now, in large bites: a thousand who listen to 999 others arriving take long.
            for ear in ears:
                listening.start_soon(ear.listen)

            async with trio.open_nursery() as talking:
                for number, ear in enumerate(ears[:TALKERS]):
                    talking.start_soon(talk, ear.peer, number)
                for dropper in droppers:
                    await trio.lowlevel.checkpoint()
                    dropper.drop()
            await members(server, room, CROWD - DROPPERS)
            await ears[0].peer.send(text(_END))

        everything = history(server.url, room)
        assert payloads(bytes(witness.data)) == everything
        for ear in ears:
            # Each heard the end of what the witness heard: from its own coming on.
            suffix = bytes(witness.data[-ear.heard :])
            assert hashlib.blake2b(suffix).digest() == ear.digest.digest()
        check(everything)
        for ear in ears:
            ear.peer.drop()
        await members(server, room, 0)
        assert server.stop() == 0


def check(everything: list[Json]) -> None:
    kinds = [message["type"] for message in everything]
    assert kinds.count("joined") == CROWD
    assert kinds.count("left") == DROPPERS
    said = texts(everything)
    assert len(said) == TALKERS * WORDS + 1
    for number in range(TALKERS):
        mine = [words for words in said if words.startswith(f"{number}:")]
        assert mine == [f"{number}: {word}" for word in range(WORDS)]


def payloads(data: bytes) -> list[Json]:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(data)
    messages = []
    for event in client.events():
        assert isinstance(event, TextMessage)
        assert event.message_finished
        messages.append(json.loads(event.data))
    return messages


async def talk(peer: Peer, number: int) -> None:
    for word in range(WORDS):
        await peer.send(text(f"{number}: {word}"))
        await trio.lowlevel.checkpoint()


async def members(server: SharechatProcess, room: str, count: int) -> None:
    url = f"{server.url}/api/room/{room}"
    await eventually(lambda: len(fetch(url).json["members"]) == count, 3 * DEADLINE)
