"""Several `sharechat` processes that share one Postgres and one Redis."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import trio
from trio_websocket import ConnectionClosed

from tests.harness.http import Json
from tests.harness.postgres import PostgresServer
from tests.harness.process import ImpatientProcess, ServerProcess, SharechatProcess
from tests.harness.redis import RedisServer
from tests.harness.talker import Talker, join


class Cluster:
    """A Postgres, a Redis, and the processes that use them."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.postgres = stack.enter_context(PostgresServer())
        self.redis = stack.enter_context(RedisServer())

    @property
    def flags(self) -> Sequence[str]:
        return ("--database-url", self.postgres.url, "--redis-url", self.redis.url)

    def serve(self, *flags: str) -> SharechatProcess:
        """Start a process. It is killed when the cluster ends, if it is still running."""
        return self._stack.enter_context(SharechatProcess(*self.flags, *flags))

    def serve_impatiently(self, *flags: str) -> ImpatientProcess:
        """Like `serve`, with shorter times."""
        return self._stack.enter_context(ImpatientProcess(*self.flags, *flags))


@contextmanager
def cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(stack)


Pair = tuple[ServerProcess, ServerProcess]
"""Two processes of one cluster."""


class Listener:
    """Records every message that a member hears, until its connection closes."""

    def __init__(self, talker: Talker) -> None:
        self.talker = talker
        self.heard: list[Json] = []
        self._closed: ConnectionClosed | None = None
        self._more = trio.Event()

    async def run(self) -> None:
        try:
            while True:
                self.heard.append(await self.talker.wait_and_hear())
                self._notify()
        except ConnectionClosed as error:
            self._closed = error
            self._notify()

    def _notify(self) -> None:
        self._more.set()
        self._more = trio.Event()

    async def until(self, type_: str, count: int, within: float = 30) -> None:
        """Wait until at least `count` messages of a type have been heard.

        Raises ConnectionClosed if there will be no more.
        """
        with trio.fail_after(within):
            while len(self.ids(type_)) < count:
                if self._closed is not None:
                    raise self._closed
                await self._more.wait()

    async def say_numbers(self, prefix: int, count: int) -> None:
        """Say `count` numbered messages."""
        for number in range(count):
            await self.talker.say(f"{prefix}:{number}")

    def ids(self, type_: str) -> list[str]:
        """Return the ids of the messages of a type that have been heard."""
        return [message["id"] for message in self.heard if message["type"] == type_]


async def listen(nursery: trio.Nursery, url: str) -> Listener:
    """Join, and record what the member hears until the nursery ends."""
    listener = Listener(await join(nursery, url))
    nursery.start_soon(listener.run)
    await listener.until("joined", 1)
    return listener


def assert_heard_without_gaps(heard: list[Json], log: list[Json]) -> None:
    """Assert that `heard` is the log from its first message on, without a gap or a repeat."""
    start = log.index(heard[0])
    assert heard == log[start : start + len(heard)]
