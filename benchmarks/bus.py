"""Compare the buses by themselves, in turns: one Redis, and clusters of 1, 3 and 6 primaries.

    python -m benchmarks.bus [--rounds 20]

One Queue publishes, another one hears. Prints medians: payloads a second, and how long a single one
takes; and means: the processor time that the servers spend on a payload, all of them and the
busiest. What one core of a server carries is one second divided by that.
"""

import argparse
import os
import statistics
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from sharechat.adapters.redis import open_queue
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from tests.harness.queues import make_entry, new_room_ids, until_working
from tests.harness.redis import RedisServer
from tests.harness.redis_cluster import RedisCluster

_ROOMS = 1_000
_PAYLOADS = 20_000
"""Payloads of a round, of one message each."""
_AT_ONCE = 500
"""Payloads that are published before the others get their turn."""
_SINGLES = 200
"""Payloads of a round that are published one after the other."""
_TEXT = "So what do we make of this, and who is going to tell them?"


class Counter:
    """A Listener that counts the entries that it has heard."""

    def __init__(self) -> None:
        self._heard = 0
        self._changed = trio.Event()

    def heard(self, room_id: RoomId, entries: Sequence[Entry]) -> None:  # noqa: ARG002
        self._heard += len(entries)
        self._changed.set()

    def missed(self, room_ids: Collection[RoomId]) -> None:
        pass

    async def until(self, count: int) -> None:
        """Wait until so many have been heard since the last call."""
        while self._heard < count:
            self._changed = trio.Event()
            await self._changed.wait()
        self._heard = 0


@dataclass
class Figures:
    """What the rounds of one bus gave."""

    payloads: list[float] = field(default_factory=list)
    single: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    busiest: list[float] = field(default_factory=list)


class Bus:
    """One bus, two Queues on it, and its servers."""

    def __init__(self, name: str, url: str, servers: Sequence[RedisServer]) -> None:
        self.name = name
        self.figures = Figures()
        self._servers = servers
        self._here, self._there = open_queue(url), open_queue(url)
        self._counter = Counter()
        self._entries = [make_entry(room, text=_TEXT) for room in new_room_ids(_ROOMS)]

    async def start(self, nursery: trio.Nursery) -> None:
        for entry in self._entries:
            self._there.subscribe(entry.message.room_id)
        await nursery.start(self._here.run, Counter())
        await nursery.start(self._there.run, self._counter)
        await until_working(self._here)
        await until_working(self._there)
        # The rooms are subscribed to before the probe comes back for the second time.
        await trio.sleep(4)

    async def run_round(self) -> None:
        before = [_processor_seconds(server) for server in self._servers]
        start = time.perf_counter()
        for number in range(_PAYLOADS):
            self._publish(number)
            if number % _AT_ONCE == _AT_ONCE - 1:
                await self._counter.until(_AT_ONCE)
        self.figures.payloads.append(_PAYLOADS / (time.perf_counter() - start))
        spent = [
            (_processor_seconds(server) - seconds) / _PAYLOADS
            for server, seconds in zip(self._servers, before, strict=True)
        ]
        self.figures.processor.append(sum(spent))
        self.figures.busiest.append(max(spent))
        start = time.perf_counter()
        for number in range(_SINGLES):
            self._publish(number)
            await self._counter.until(1)
        self.figures.single.append((time.perf_counter() - start) / _SINGLES)

    def _publish(self, number: int) -> None:
        entry = self._entries[number % _ROOMS]
        self._here.publish(entry.message.room_id, [entry])


def _processor_seconds(server: RedisServer) -> float:
    words = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def compare(buses: Sequence[Bus], rounds: int) -> None:
    """Run the rounds in turn, and print the medians."""
    async with trio.open_nursery() as nursery:
        for bus in buses:
            await bus.start(nursery)
        for _ in range(rounds):
            for bus in buses:
                await bus.run_round()
        nursery.cancel_scope.cancel()
    print(f"{'bus':<16}{'payloads/s':>12}{'single, ms':>12}{'servers, us':>13}{'busiest, us':>13}")
    for bus in buses:
        figures = bus.figures
        payloads, single = map(statistics.median, (figures.payloads, figures.single))
        # A round takes a few of the ticks that the system counts in.
        processor, busiest = map(statistics.mean, (figures.processor, figures.busiest))
        print(
            f"{bus.name:<16}{payloads:>12,.0f}{single * 1e3:>12.3f}{processor * 1e6:>13.2f}"
            f"{busiest * 1e6:>13.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="of each bus (default: 20)")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        buses = [Bus("one Redis", redis.url, [redis])]
        for primaries in (1, 3, 6):
            cluster = stack.enter_context(RedisCluster(primaries=primaries))
            buses.append(Bus(f"cluster of {primaries}", cluster.url, cluster.nodes))
        trio.run(partial(compare, buses, arguments.rounds))


if __name__ == "__main__":
    main()
