"""The workloads by name."""

from collections.abc import Callable, Mapping, Sequence

from sharechat.bench.extremes import History, Idle, JoinStorm, SlowMember
from sharechat.bench.results import Result
from sharechat.bench.target import Target
from sharechat.bench.workloads import Conditions, ManyToMany, OneToMany, Rooms, Workload

ALL: Mapping[str, Callable[..., Workload]] = {
    kind.name: kind for kind in (OneToMany, ManyToMany, Rooms, JoinStorm, Idle, History, SlowMember)
}


def make(name: str, members: int | None = None) -> Workload:
    """Return the workload of that name, with so many members where that is for choice."""
    kind = ALL[name]
    if members is None or kind is History:
        return kind()
    if kind is Rooms:
        return Rooms(rooms=max(1, members // Rooms.members))
    return kind(members=members)


def run(
    targets: Sequence[Target],
    workloads: Sequence[Workload],
    conditions: Conditions,
    *,
    runs: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> list[list[list[Result]]]:
    """Run each workload `runs` times on each target; return workload → target → results.

    The targets take turns (A B A B ...), so that whatever else the machine does meets them
    all. `progress` is told what comes next. Raises what Workload.run raises.
    """
    table = []
    for workload in workloads:
        results: list[list[Result]] = [[] for _ in targets]
        for turn in range(runs):
            for target, column in zip(targets, results, strict=True):
                progress(f"{workload.name} {turn + 1}/{runs} on {target.host}:{target.port}")
                column.append(workload.run(target, conditions))
        table.append(results)
    return table
