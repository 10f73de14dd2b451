"""The workloads by name."""

from collections.abc import Callable, Mapping, Sequence

from sharechat.bench.results import Result
from sharechat.bench.scale import Comeback, LargeRoom, Soak
from sharechat.bench.stress import History, Idle, Joins, JoinStorm, SlowMember
from sharechat.bench.target import Target
from sharechat.bench.workloads import ManyToMany, OneToMany, Parameters, Rooms, Workload

WORKLOADS: Mapping[str, Callable[..., Workload]] = {
    kind.name: kind
    for kind in (
        OneToMany,
        ManyToMany,
        Rooms,
        Joins,
        JoinStorm,
        Idle,
        History,
        SlowMember,
        Soak,
        Comeback,
        LargeRoom,
    )
}
LARGE = frozenset(kind.name for kind in (Soak, Comeback, LargeRoom))
"""Those that take a machine of their own for minutes, and so are run only by name."""


def make(name: str, members: int | None = None) -> Workload:
    """Return the workload called `name`, with `members` in total if it has a choice.

    Without `members` it has its default size. Raises KeyError for an unknown name.
    """
    kind = WORKLOADS[name]
    if members is None or kind is History:
        return kind()
    if kind is Rooms:
        return Rooms(rooms=max(1, members // Rooms.members))
    return kind(members=members)


def run(
    targets: Sequence[Target],
    workloads: Sequence[Workload],
    parameters: Parameters,
    *,
    runs: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> list[list[list[Result]]]:
    """Run each workload `runs` times on each target.

    Returns a list by workload, of lists by target, of one result per run. The targets take
    turns (A B A B ...), so that other load on the machine affects all of them alike. Before
    each run `progress` is called with a line that describes it. Raises what Workload.run
    raises.
    """
    table = []
    for workload in workloads:
        results: list[list[Result]] = [[] for _ in targets]
        for number in range(1, runs + 1):
            for target, column in zip(targets, results, strict=True):
                progress(f"{workload.name} {number}/{runs} on {target.host}:{target.port}")
                column.append(workload.run(target, parameters))
        table.append(results)
    return table
