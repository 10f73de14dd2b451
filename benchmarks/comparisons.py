"""Which servers are compared, in which workloads, and the ratios to reach."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks import servers
from sharechat.bench import catalogue
from sharechat.bench.results import Result
from sharechat.bench.target import Target
from sharechat.bench.workloads import Parameters, Workload

RUN_ONCE = ("history", "slow-member")
"""Workloads that take too long to repeat."""

IDLE_TARGET = 30.0
"""kB per idle member: an absolute target, not a ratio."""


@dataclass(frozen=True)
class Comparison:
    """A pair of servers, and the workloads to run on both.

    `ours` and `theirs` are command lines, of `sharechat`, `yardstick` or one of `RIVALS`, and
    also the names in the report. `workloads` are labels, see `make`; `targets` gives the ratio to
    reach by (label, figure).
    """

    name: str
    ours: str
    theirs: str
    workloads: Sequence[str]
    targets: Mapping[tuple[str, str], float]
    clustered: bool = True
    """Whether the servers use Postgres and Redis."""


CLUSTERED = Comparison(
    "clustered",
    "sharechat",
    "yardstick",
    (
        "one-to-many",
        "many-to-many",
        "rooms",
        "joins",
        "join-storm",
        "history",
        "slow-member",
        "idle",
    ),
    {
        ("one-to-many", "deliveries/s"): 2.5,
        ("one-to-many", "p50"): 2.0,
        ("many-to-many", "deliveries/s"): 8.0,
        ("rooms", "messages/s"): 4.0,
        ("joins", "joins/s"): 1.0,
        ("join-storm", "joins/s"): 2.0,
    },
)
EMBEDDED = Comparison(
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
)
WORKERS = Comparison(
    "workers",
    "sharechat --workers 2",
    "sharechat --workers 1",
    ("rooms",),
    {("rooms", "messages/s"): 1.0},
)
_TALK = ("one-to-many", "one-to-many:1000", "many-to-many", "rooms", "joins", "join-storm")
NODE = Comparison(
    "node",
    "sharechat",
    "node",
    _TALK,
    {
        ("one-to-many", "deliveries/s"): 1.0,
        ("one-to-many:1000", "deliveries/s"): 1.0,
        ("rooms", "messages/s"): 1.3,
    },
    clustered=False,
)
BUN = Comparison(
    "bun", "sharechat", "bun", _TALK, {("many-to-many", "deliveries/s"): 1.0}, clustered=False
)
COMPARISONS = (CLUSTERED, EMBEDDED, WORKERS, NODE, BUN)


def can_run(comparison: Comparison) -> bool:
    """Return whether what it compares with is installed."""
    return comparison.theirs not in servers.RIVALS or servers.is_installed(comparison.theirs)


def make(label: str) -> Workload:
    """Return the workload of a label: a name, with ":" and the number of members if not usual."""
    name, _, members = label.partition(":")
    return catalogue.make(name, int(members) if members else None)


@contextmanager
def running_pair(comparison: Comparison, stores: servers.Stores) -> Iterator[list[servers.Server]]:
    """Run both servers of a comparison, ours first. Raises RuntimeError if one fails."""
    with ExitStack() as stack:
        running = []
        for number, command_line in enumerate((comparison.ours, comparison.theirs)):
            program, *flags = command_line.split()
            database = f"{comparison.name}_{number}"
            store_flags = stores.flags(database) if comparison.clustered else []
            if program in servers.RIVALS:
                server = servers.rival(program)
            elif program == "yardstick":
                server = servers.yardstick([*(store_flags or ["--memory"]), *flags])
            else:
                server = servers.sharechat([*store_flags, *flags])
            running.append(stack.enter_context(server))
        yield running


def run(
    comparison: Comparison,
    workload: Workload,
    stores: servers.Stores,
    parameters: Parameters,
    *,
    runs: int,
    progress: Callable[[str], None],
) -> tuple[list[Result], list[Result]]:
    """Run one workload `runs` times on both servers, in turn; return the results of each.

    Before each run `progress` is called with a line that describes it. Raises what
    Workload.run raises, and RuntimeError if a server does not start.
    """
    if workload.name in RUN_ONCE:
        runs = 1
    # New servers for each workload, so that none is affected by what another left behind.
    # For memory even for each run, since a server reuses what it has freed.
    restarts, runs_each = (runs, 1) if workload.name == "idle" else (1, runs)
    ours: list[Result] = []
    theirs: list[Result] = []
    for _ in range(restarts):
        with running_pair(comparison, stores) as running:
            targets = [Target.parse(server.url) for server in running]
            [columns] = catalogue.run(
                targets, [workload], parameters, runs=runs_each, progress=progress
            )
        ours += columns[0]
        theirs += columns[1]
    return ours, theirs
