"""The plots: how the figures of the clustered servers change with the load."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import comparisons, servers, svg
from sharechat.bench.results import Result
from sharechat.bench.stress import Idle
from sharechat.bench.workloads import OneToMany, Parameters, Rooms, Workload

_FOLDER = Path(__file__).resolve().parent / "plots"
_MAX_RUNS = 3
"""Runs of each workload; more would take hours for all points."""


@dataclass(frozen=True)
class Plot:
    """One figure of a workload at several sizes; `file` is the name without `.svg`."""

    file: str
    title: str
    x_label: str
    y_label: str
    figure: str
    workloads: Sequence[Workload]
    points: Sequence[int]
    """The x value for each workload."""


_ROOM_SIZES = (10, 100, 500, 1000)
_ROOMS = (1, 5, 25, 50, 100)
_IDLE_MEMBERS = (500, 1000, 2000, 4000)

PLOTS = (
    Plot(
        "fan-out",
        "One member talks in a room",
        "members",
        "deliveries/s",
        "deliveries/s",
        [OneToMany(size) for size in _ROOM_SIZES],
        _ROOM_SIZES,
    ),
    Plot(
        "latency",
        "Time until a message is back, rooms of 10",
        "talkers, 2 in each room",
        "ms, median",
        "p50",
        [Rooms(rooms) for rooms in _ROOMS],
        [Rooms.talkers * rooms for rooms in _ROOMS],
    ),
    Plot(
        "memory",
        "Memory of idle members",
        "members",
        "MB more than without members",
        "memory",
        [Idle(members) for members in _IDLE_MEMBERS],
        _IDLE_MEMBERS,
    ),
)


def draw(
    stores: servers.Stores,
    parameters: Parameters,
    *,
    runs: int,
    progress: Callable[[str], None],
) -> dict[str, dict[str, list[float | None]]]:
    """Measure and draw all plots, into `benchmarks/plots`.

    Returns the medians of at most three runs: by file and server, in the order of the
    points, None where a server did not yield the figure. Raises what comparisons.run raises.
    """
    _FOLDER.mkdir(exist_ok=True)
    comparison = comparisons.CLUSTERED
    drawn = {}
    for plot in PLOTS:
        series: dict[str, list[float | None]] = {comparison.ours: [], comparison.theirs: []}
        for workload, point in zip(plot.workloads, plot.points, strict=True):
            columns = comparisons.run(
                comparison,
                workload,
                stores,
                parameters,
                runs=min(runs, _MAX_RUNS),
                progress=progress,
            )
            for row, results in zip(series.values(), columns, strict=True):
                row.append(_value(results, plot.figure, point))
        labels = [f"{point:,}" for point in plot.points]
        document = svg.line_plot(plot.title, plot.x_label, plot.y_label, labels, series)
        (_FOLDER / f"{plot.file}.svg").write_text(document)
        drawn[plot.file] = series
    return drawn


def _value(results: Sequence[Result], figure: str, members: int) -> float | None:
    values = [result.figures[figure] for result in results if figure in result.figures]
    if not values:
        return None
    # The plot shows MB in total, the figure is kB per member.
    return median(values) * (members / 1000 if figure == "memory" else 1)
