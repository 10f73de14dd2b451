"""All benchmarks: sharechat and the yardstick in turn, the medians, the targets, the plots.

    python -m benchmarks [--runs 5] [--seconds 5] [--only clustered] [--no-plots]

Writes benchmarks/results.json, and benchmarks/plots/*.svg for the README.

Nothing is pinned to a processor. On two cores that would decide the outcome: Postgres,
Redis and the clients would share what the server does not use, and a server of several
processes would be cut down to one core. In its place the servers take turns, run by run
(A B A B ...), so that whatever else the machine does meets both, and medians are compared.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import plot, sections, servers
from sharechat.bench import catalogue
from sharechat.bench.results import UNITS, Result, medians, ratio
from sharechat.bench.stress import Idle
from sharechat.bench.workloads import OneToMany, Parameters, Rooms, Workload

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", choices=[section.name for section in sections.SECTIONS])
    parser.add_argument("--workload", choices=[*catalogue.WORKLOADS])
    parser.add_argument("--no-plots", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE / "results.json")
    words = parser.parse_args()
    parameters = Parameters(words.seconds)
    report: dict[str, object] = {"machine": machine(), "runs": words.runs}
    missed = 0
    with servers.stores() as stores:
        for section in sections.SECTIONS:
            if words.only in (None, section.name):
                names = [w for w in section.workloads if words.workload in (None, w)]
                report[section.name], misses = compare(
                    section, names, stores, parameters, words.runs
                )
                missed += misses
        if not words.no_plots:
            report["plots"] = draw(stores, parameters, words.runs)
    words.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\n{missed} targets missed. Written: {words.out}")


def machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def compare(
    section: sections.Section,
    names: Sequence[str],
    stores: servers.Stores,
    parameters: Parameters,
    runs: int,
) -> tuple[dict[str, object], int]:
    """Run a section and print its table; return all its figures, and the targets missed."""
    print(f"\n{section.name}: {section.ours} and {section.theirs}, medians of {runs}")
    print(f"{'workload':<14}{'figure':<20}{'ours':>12}{'theirs':>12}{'ratio':>9}  target")
    report: dict[str, object] = {}
    missed = 0
    for name in names:
        workload = catalogue.make(name)
        ours, theirs = sections.run(section, workload, stores, parameters, runs, progress)
        report[name] = {section.ours: every(ours), section.theirs: every(theirs)}
        missed += show(section, medians(ours), medians(theirs))
    return report, missed


def every(results: Sequence[Result]) -> list[object]:
    return [{"figures": result.figures, "wrong": result.wrong} for result in results]


def show(section: sections.Section, ours: Result, theirs: Result) -> int:
    """Print the rows of a workload; return how many targets were missed."""
    missed = 0
    for figure in [name for name in UNITS if name in ours.figures]:
        mine, other = ours.figures[figure], theirs.figures.get(figure)
        times = None if other is None else ratio(mine, other, figure)
        target = section.targets.get((ours.workload, figure))
        verdict = ""
        if ours.workload == "idle":
            met = mine <= sections.IDLE_TARGET
            verdict = f"<= {sections.IDLE_TARGET:g} kB: {'met' if met else 'MISSED'}"
        elif target is not None and times is not None:
            met = times > target if target == 1 else times >= target
            verdict = f"{target:g}x: {'met' if met else 'MISSED'}"
        missed += "MISSED" in verdict
        label = f"{figure} {UNITS[figure]}".strip()
        row = f"{ours.workload:<14}{label:<20}{mine:>12,.4g}"
        row += f"{other:>12,.4g}{times:>8.2f}x" if other is not None else f"{'-':>12}{'-':>9}"
        print(f"{row}  {verdict}", flush=True)
    for who, result in ((section.ours, ours), (section.theirs, theirs)):
        for complaint in result.wrong:
            print(f"  WRONG: {who}: {complaint}", flush=True)
    return missed


def draw(
    stores: servers.Stores, parameters: Parameters, runs: int
) -> dict[str, dict[str, list[float | None]]]:
    """Draw the plots, of the clustered servers; return what is in them."""
    sizes, busy, idle = (10, 100, 500, 1000), (1, 5, 25, 50, 100), (500, 1000, 2000, 4000)
    plots: list[tuple[str, str, str, str, Sequence[Workload], Sequence[int], str]] = [
        ("fan-out", "One talks to a room", "members", "deliveries/s",
         [OneToMany(n) for n in sizes], sizes, "deliveries/s"),
        ("latency", "Until a message is back, rooms of 10", "talkers, 2 a room", "ms, median",
         [Rooms(n) for n in busy], [2 * n for n in busy], "p50"),
        ("memory", "What idle members cost", "members", "MB over none",
         [Idle(n) for n in idle], idle, "memory"),
    ]  # fmt: skip
    clustered = sections.SECTIONS[0]
    folder = HERE / "plots"
    folder.mkdir(exist_ok=True)
    drawn = {}
    for file, title, across, up, workloads, points, figure in plots:
        series: dict[str, list[float | None]] = {clustered.ours: [], clustered.theirs: []}
        for workload, point in zip(workloads, points, strict=True):
            columns = sections.run(clustered, workload, stores, parameters, min(runs, 3), progress)
            for row, results in zip(series.values(), columns, strict=True):
                value = middle(results, figure)
                if value is not None and figure == "memory":
                    value *= point / 1000
                row.append(value)
        svg = plot.lines(title, across, up, [f"{point:,}" for point in points], series)
        (folder / f"{file}.svg").write_text(svg)
        drawn[file] = series
    return drawn


def middle(results: Sequence[Result], figure: str) -> float | None:
    values = [result.figures[figure] for result in results if figure in result.figures]
    return median(values) if values else None


if __name__ == "__main__":
    main()
