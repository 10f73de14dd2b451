"""Redis Sentinel: which server is used, and what happens when another one becomes the primary."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
import trio

from sharechat.adapters.redis import open_queue
from sharechat.domain.ids import new_room_id
from tests.harness.deadline import DEADLINE, wait_until
from tests.harness.queues import Recorder, until_working
from tests.harness.redis import RedisServer, SentinelServer
from tests.harness.redis_queues import (
    assert_hears_once,
    impatient_queue,
    running,
    sharechat_connections,
    until_failing,
)
from tests.harness.waiting import until


class Watched:
    """A primary, its replica, and the sentinel that watches both."""

    def __init__(self, stack: ExitStack) -> None:
        self.primary = stack.enter_context(RedisServer())
        self.replica = stack.enter_context(RedisServer(replica_of=self.primary))
        # A sentinel looks again only after ten seconds.
        wait_until(
            lambda: "link_status:up" in self.replica.ask("INFO", "replication"), within=DEADLINE
        )
        self.sentinel = stack.enter_context(SentinelServer(self.primary))

    async def until_watched(self) -> None:
        """Wait until the sentinel knows the replica, so that it can replace the primary."""
        await until(
            lambda: str(self.replica.port) in self.sentinel.ask("SENTINEL", "replicas", "chat"),
            within=3 * DEADLINE,
        )


@pytest.fixture
def watched() -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(stack)


def url(*ports: int, service: str = "chat", login: str = "") -> str:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"redis+sentinel://{login}{hosts}/{service}"


def connections(server: RedisServer) -> int:
    """Return how many connections the queues have; none if the server has cut off who asks."""
    try:
        return len(sharechat_connections(server))
    except OSError:  # A server that changes its role closes all of them.
        return 0


async def test_the_primary_is_used(watched: Watched) -> None:
    room = new_room_id()
    here, there = open_queue(watched.sentinel.url), open_queue(watched.sentinel.url)
    async with running(here, room), running(there, room) as recorder:
        await assert_hears_once(here, recorder, room)
        assert sharechat_connections(watched.primary)
        assert not sharechat_connections(watched.replica)


async def test_another_sentinel_is_asked_if_the_first_is_away(watched: Watched) -> None:
    room = new_room_id()
    nobody = 1
    async with running(open_queue(url(nobody, watched.sentinel.port)), room):
        assert sharechat_connections(watched.primary)


@pytest.mark.time_limit(120)
@pytest.mark.parametrize("how", ["killed", "frozen", "demoted"])
async def test_queues_go_on_with_the_server_that_takes_the_place_of_the_primary(
    watched: Watched, how: str
) -> None:
    """Takes seconds: a sentinel has to be sure, and demotes a server that lives after ten."""
    await watched.until_watched()
    room = new_room_id()
    one, other = impatient_queue(watched.sentinel.url), impatient_queue(watched.sentinel.url)
    async with running(one, room) as recorder, running(other, room) as theirs:
        if how == "killed":
            watched.primary.kill()
        elif how == "frozen":
            watched.primary.freeze()
        else:
            # It refuses until it knows that the replica is fit to take over.
            failover = partial(watched.sentinel.ask, "SENTINEL", "failover", "chat")
            await until(lambda: failover() == "+OK\r\n", within=60)
        await until(lambda: connections(watched.replica) == 4, within=60)
        # What was published meanwhile may be lost, so both are told to look at the room.
        await until_working(one)
        await until_working(other)
        await recorder.has_missed(room)
        await theirs.has_missed(room)
        await assert_hears_once(one, theirs, room)
        await assert_hears_once(other, recorder, room)


async def test_a_service_that_no_sentinel_knows_is_named(watched: Watched) -> None:
    queue = open_queue(url(watched.sentinel.port, service="other"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.run, Recorder())
        reason = await until_failing(queue, "does not know other")
        assert str(watched.sentinel.port) in reason
        nursery.cancel_scope.cancel()


async def test_a_server_that_has_become_a_replica_is_not_used(watched: Watched) -> None:
    """A sentinel that was cut off names it still."""
    await watched.until_watched()
    with SentinelServer(watched.replica) as outdated:
        queue = open_queue(outdated.url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.run, Recorder())
            await until_failing(queue, "is no longer the primary")
            nursery.cancel_scope.cancel()


async def test_a_user_who_may_do_nothing_but_publish_and_subscribe_is_enough(
    watched: Watched,
) -> None:
    rights = (
        "on",
        ">p@ss",
        "+publish",
        "+subscribe",
        "+unsubscribe",
        "resetchannels",
        "&sharechat:*",
    )
    watched.primary.ask("ACL", "SETUSER", "chat", *rights)
    room = new_room_id()
    address = url(watched.sentinel.port, login="chat:p%40ss@")
    here, there = open_queue(address), open_queue(address)
    async with running(here, room), running(there, room) as recorder:
        await assert_hears_once(here, recorder, room)


async def test_the_sentinels_may_have_a_password_of_their_own(watched: Watched) -> None:
    with SentinelServer(watched.primary, password="open:sesame") as guarded:
        address = url(guarded.port)
        async with running(open_queue(f"{address}?sentinel_password=open%3Asesame")):
            assert sharechat_connections(watched.primary)
        queue = open_queue(address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.run, Recorder())
            await until_failing(queue, "NOAUTH")
            nursery.cancel_scope.cancel()
