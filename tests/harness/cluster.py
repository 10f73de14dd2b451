"""Several `sharechat` processes over one real Postgres and one real Redis."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import trio
from trio_websocket import ConnectionClosed

from tests.harness.postgres import PostgresServer
from tests.harness.redis import RedisServer
from tests.harness.server import Json, SharechatProcess, Talker


class Cluster:
    """A Postgres, a Redis, and the processes started over them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.postgres = stack.enter_context(PostgresServer())
        self.redis = stack.enter_context(RedisServer())

    @property
    def flags(self) -> Sequence[str]:
        return ("--database-url", self.postgres.url, "--redis-url", self.redis.url)

    def serve(self, *flags: str) -> SharechatProcess:
        return self._stack.enter_context(SharechatProcess(*self.flags, *flags))


@contextmanager
def cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(stack)


class Listener:
    """Writes down all that a member hears, to its end."""

    def __init__(self, talker: Talker) -> None:
        self.talker = talker
        self.heard: list[Json] = []
        self._more = trio.Event()

    async def run(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                self.heard.append(json.loads(await self.talker.websocket.get_message()))
                self._more.set()
                self._more = trio.Event()

    async def until(self, kind: str, count: int, within: float = 30) -> None:
        """Wait until so many messages of a kind have been heard."""
        with trio.fail_after(within):
            while len(self.ids(kind)) < count:
                await self._more.wait()

    def ids(self, kind: str) -> list[str]:
        return [message["id"] for message in self.heard if message["type"] == kind]
