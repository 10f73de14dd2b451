"""A server that is killed in mid talk, with members who come back, and what must hold then."""

import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import trio

from sharechat import client
from tests.harness.deadline import eventually
from tests.harness.http import Json, fetch, history, make_room
from tests.harness.ports import free_port
from tests.harness.process import SharechatProcess

_ROOMS = 3
_AUTHORS = 4
"""Members of each room."""

_SAYERS = 3
"""Messages that an author has under way at a time."""

_PATIENCE = 60.0
"""Seconds for a round."""

_FLAGS = (
    *("--message-rate", "0", "--room-rate", "0", "--join-rate", "0"),
    *("--log-level", "warning"),
)


class Round(NamedTuple):
    """What a round was like."""

    stored: int
    """Messages that were acknowledged."""
    before_kill: int
    """Those of them that were acknowledged before the server was killed."""
    back_after: float
    """Seconds from the kill until the server answered again."""


class Author:
    """A member that says numbers, and goes on after each lost connection."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[str] = []
        """The ids of all messages."""
        self.stored: list[tuple[str, str]] = []
        """The ids and texts of what was acknowledged."""
        self._said = 0

    async def talk(
        self,
        address: str,
        enough: trio.Event,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Talk until `enough`, then until everything is acknowledged and heard, and leave."""
        async with client.join(address) as room:
            await room.connected()
            async with trio.open_nursery() as listening:
                listening.start_soon(self._listen, room)
                task_status.started()
                async with trio.open_nursery() as sayers:
                    for _ in range(_SAYERS):
                        sayers.start_soon(self._say, room, enough)
                heard = set[str]()
                while not {id_ for id_, _ in self.stored} <= heard:
                    await trio.sleep(0.01)
                    heard = set(self.heard)
                listening.cancel_scope.cancel()

    async def _listen(self, room: client.JoinedRoom) -> None:
        async for message in room:
            self.heard.append(message.id)

    async def _say(self, room: client.JoinedRoom, enough: trio.Event) -> None:
        while not enough.is_set():
            text, id_ = f"{self.name}:{self._said}", str(uuid4())
            self._said += 1
            while True:
                try:
                    await room.say(text, id=id_)
                except client.NotStoredError:
                    continue  # "Try again later": the same message, once.
                self.stored.append((id_, text))
                break


class KilledServer:
    """A server on one file that is killed once in each round, and started again."""

    def __init__(self, path: Path) -> None:
        # Always the same port, so that clients come back.
        port = str(free_port())
        self._start = partial(SharechatProcess, "--data", str(path), "--port", port, *_FLAGS)
        self._server = self._start()

    def __enter__(self) -> "KilledServer":
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()

    async def play(self, seed: int) -> Round:
        """Let members talk, kill the server, start it again, and let them finish.

        Raises AssertionError if anything that was acknowledged is lost, if anything is stored
        twice, if somebody has heard anything else than the log, or if somebody has not left.
        """
        moment = random.Random(seed).uniform(0.05, 0.8)
        rooms = {make_room(self._server.url): self._authors(n) for n in range(_ROOMS)}
        authors = [author for some in rooms.values() for author in some]
        enough = trio.Event()
        with trio.fail_after(_PATIENCE):
            async with trio.open_nursery() as nursery:
                for room, some in rooms.items():
                    for author in some:
                        address = f"{self._server.url}/room/{room}"
                        await nursery.start(author.talk, address, enough)
                await trio.sleep(moment)
                before = sum(len(author.stored) for author in authors)
                killed = time.monotonic()
                await trio.to_thread.run_sync(self._server.kill)
                assert "Traceback" not in self._server.stderr, self._server.stderr
                self._server = self._start()
                await trio.to_thread.run_sync(self._server.start)
                back_after = time.monotonic() - killed
                await self._until_everybody_talks_again(authors)
                enough.set()
            for room, some in rooms.items():
                await eventually(partial(self._is_empty, room))
                check_log(history(self._server.url, room), some)
        return Round(sum(len(author.stored) for author in authors), before, back_after)

    def _authors(self, number: int) -> list[Author]:
        return [Author(f"{number}.{n}") for n in range(_AUTHORS)]

    async def _until_everybody_talks_again(self, authors: list[Author]) -> None:
        goals = {author: len(author.stored) + 5 for author in authors}

        def all_have() -> bool:
            return all(len(author.stored) >= goal for author, goal in goals.items())

        await _until(all_have)

    def _is_empty(self, room: str) -> bool:
        answer = fetch(f"{self._server.url}/api/room/{room}")
        return answer.status == 200 and answer.json["members"] == []


def check_log(log: list[Json], authors: list[Author]) -> None:
    """Raise AssertionError unless the log is what these authors said and heard."""
    ids = [message["id"] for message in log]
    assert len(set(ids)) == len(ids), "a message is in the log twice"
    texts = {message["id"]: message["message"] for message in log}
    chats = Counter(message["message"] for message in log if message["type"] == "chat")
    for author in authors:
        for id_, text in author.stored:
            assert texts.get(id_) == text, f"{text} was acknowledged and is lost"
            assert chats[text] == 1, f"{text} is in the log {chats[text]} times"
        start = ids.index(author.heard[0])
        heard = ids[start : start + len(author.heard)]
        assert author.heard == heard, f"{author.name} heard another order than that of the log"
    assert sum(chats.values()) == sum(len(author.stored) for author in authors)
    joined, left = (
        [message["memberId"] for message in log if message["type"] == type_]
        for type_ in ("joined", "left")
    )
    assert len(set(joined)) == len(joined) > len(authors), "nobody has come back"
    assert sorted(joined) == sorted(left), "somebody has not left once"


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - it has no event
        await trio.sleep(0.01)
