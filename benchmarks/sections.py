"""What is compared with what, and what the issue asks for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks import servers
from sharechat.bench import catalogue
from sharechat.bench.results import Result
from sharechat.bench.target import Target
from sharechat.bench.workloads import Parameters, Workload

ONCE = ("history", "slow-member")
"""Workloads that take so long to set up, or to end, that they run only once."""

IDLE_TARGET = 30.0
"""kB a member: an absolute target, not a ratio."""


@dataclass(frozen=True)
class Section:
    """A pair of servers, the workloads for both, and the ratios asked for.

    `clustered`: whether they get Postgres and Redis.
    """

    name: str
    ours: str
    theirs: str
    workloads: Sequence[str]
    targets: dict[tuple[str, str], float]
    clustered: bool = True


SECTIONS = (
    Section(
        "clustered",
        "sharechat",
        "yardstick",
        ("one-to-many", "many-to-many", "rooms", "join-storm", "history", "slow-member", "idle"),
        {
            ("one-to-many", "deliveries/s"): 2.5,
            ("one-to-many", "p50"): 2.0,
            ("many-to-many", "deliveries/s"): 8.0,
            ("rooms", "messages/s"): 2.0,
            ("join-storm", "joins/s"): 2.0,
        },
    ),
    Section(
        "embedded",
        "sharechat",
        "yardstick",
        ("one-to-many", "many-to-many", "rooms", "idle"),
        {
            ("one-to-many", "deliveries/s"): 1.5,
            ("many-to-many", "deliveries/s"): 10.0,
            ("rooms", "messages/s"): 1.2,
        },
        clustered=False,
    ),
    Section(
        "workers",
        "sharechat --workers 2",
        "sharechat --workers 1",
        ("rooms",),
        {("rooms", "messages/s"): 1.0},
    ),
)


@contextmanager
def pair(section: Section, stores: servers.Stores) -> Iterator[list[servers.Server]]:
    """Run both servers of a section."""
    with ExitStack() as stack:
        running = []
        for number, name in enumerate((section.ours, section.theirs)):
            program, *flags = name.split()
            words = stores.words(f"{section.name}_{number}") if section.clustered else []
            if program == "yardstick":
                server = servers.yardstick(words or ["--memory"])
            else:
                server = servers.sharechat([*words, *flags])
            running.append(stack.enter_context(server))
        yield running


def run(
    section: Section,
    workload: Workload,
    stores: servers.Stores,
    parameters: Parameters,
    runs: int,
    progress: Callable[[str], None],
) -> list[list[Result]]:
    """Run one workload on both, in turn; return the results of each.

    Both are new for every workload: what one has left behind is not the next one's. For
    memory they are new for every run, since freed memory is used again.
    """
    every_time = workload.name == "idle"
    if workload.name in ONCE:
        runs = 1
    results: list[list[Result]] = [[], []]
    for _ in range(runs if every_time else 1):
        with pair(section, stores) as running:
            targets = [Target.parse(server.url) for server in running]
            times = 1 if every_time else runs
            columns = catalogue.run(targets, [workload], parameters, runs=times, progress=progress)[
                0
            ]
        for total, column in zip(results, columns, strict=True):
            total += column
    return results
