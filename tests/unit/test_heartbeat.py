"""The Heartbeat: one timer for all connections."""

from contextlib import ExitStack

import trio
from trio.testing import MockClock

from sharechat.net.heartbeat import Heartbeat


class Connection:
    """Records when it is beaten."""

    def __init__(self) -> None:
        self.beats: list[float] = []

    def beat(self, now: float) -> None:
        self.beats.append(now)


async def test_every_watched_connection_is_beaten_once_a_second_and_no_other(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    heartbeat = Heartbeat()
    began = trio.current_time()
    nursery.start_soon(heartbeat.run)
    connections = [Connection() for _ in range(1200)]
    with ExitStack() as watching:
        for connection in connections:
            watching.enter_context(heartbeat.watch(connection))
        await trio.sleep(3.5)
    await trio.sleep(5)
    beats = [began + second for second in (1, 2, 3)]
    assert all(connection.beats == beats for connection in connections)


async def test_other_tasks_run_while_very_many_connections_are_beaten(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    heartbeat = Heartbeat()
    connections = [Connection() for _ in range(2000)]
    with ExitStack() as watching:
        for connection in connections:
            watching.enter_context(heartbeat.watch(connection))
        nursery.start_soon(heartbeat.run)
        counts = set()
        await trio.sleep(1)  # This task wakes together with the Heartbeat.
        for _ in range(100):
            counts.add(sum(len(connection.beats) for connection in connections))
            await trio.lowlevel.checkpoint()
    assert max(counts) == len(connections)
    assert counts - {0, len(connections)}
