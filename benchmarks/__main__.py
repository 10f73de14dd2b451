"""Run the benchmarks: sharechat and other servers in turn, medians, targets, plots.

    python -m benchmarks [--runs 5] [--seconds 5] [--only clustered] [--no-plots]

Writes benchmarks/results.json, and benchmarks/plots/*.svg for the README.

No process is pinned to a processor. On two cores pinning would decide the outcome: Postgres,
Redis and the clients would be confined to the core that the server does not use, and a server
of several processes would be cut down to one core. Instead the servers take turns, run by run
(A B A B ...), so that other load on the machine affects both alike, and medians are compared.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import comparisons, scaling, servers
from benchmarks.comparisons import Comparison
from sharechat.bench import catalogue
from sharechat.bench.results import UNITS, Result, format_figure, medians, ratio
from sharechat.bench.workloads import Parameters

_RESULTS = Path(__file__).resolve().parent / "results.json"


def main() -> None:
    arguments = _parser().parse_args()
    parameters = Parameters(arguments.seconds)
    report: dict[str, object] = {"machine": machine(), "runs": arguments.runs}
    missed = 0
    with servers.running_stores() as stores:
        for comparison in comparisons.COMPARISONS:
            if arguments.only in (None, comparison.name):
                if not comparisons.can_run(comparison):
                    print(f"\n{comparison.name}: {comparison.theirs} is not installed.")
                    continue
                names = [w for w in comparison.workloads if arguments.workload in (None, w)]
                report[comparison.name], misses = compare(
                    comparison, names, stores, parameters, arguments.runs
                )
                missed += misses
        if not arguments.no_plots:
            report["plots"] = scaling.draw(
                stores, parameters, runs=arguments.runs, progress=progress
            )
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nTargets missed: {missed}. Results written to {arguments.out}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--runs", type=int, default=5, help="of each workload (default: 5)")
    parser.add_argument(
        "--seconds", type=float, default=5, help="to measure in each run (default: 5)"
    )
    names = [comparison.name for comparison in comparisons.COMPARISONS]
    parser.add_argument("--only", choices=names, help="run one comparison instead of all")
    parser.add_argument(
        "--workload", choices=[*catalogue.WORKLOADS], help="run one workload instead of all"
    )
    parser.add_argument("--no-plots", action="store_true", help="do not measure for the plots")
    parser.add_argument("--out", type=Path, default=_RESULTS, help="where to write the results")
    return parser


def machine() -> dict[str, object]:
    """Return what the report tells of the machine."""
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def compare(
    comparison: Comparison,
    workloads: Sequence[str],
    stores: servers.Stores,
    parameters: Parameters,
    runs: int,
) -> tuple[dict[str, object], int]:
    """Run these workloads of a comparison and print their table.

    Returns the results of all runs, for the report, and the number of targets missed.
    """
    print(f"\n{comparison.name}: {comparison.ours} and {comparison.theirs}, medians of {runs}")
    print(f"{'workload':<18}{'figure':<20}{'ours':>12}{'theirs':>12}{'ratio':>9}  target")
    report: dict[str, object] = {}
    missed = 0
    for name in workloads:
        workload = comparisons.make(name)
        ours, theirs = comparisons.run(
            comparison, workload, stores, parameters, runs=runs, progress=progress
        )
        report[name] = {comparison.ours: _as_json(ours), comparison.theirs: _as_json(theirs)}
        missed += show(comparison, name, medians(ours), medians(theirs))
    return report, missed


def _as_json(results: Sequence[Result]) -> list[object]:
    return [{"figures": result.figures, "wrong": result.wrong} for result in results]


def show(comparison: Comparison, label: str, ours: Result, theirs: Result) -> int:
    """Print the rows of a workload in the table; return the number of targets missed."""
    missed = 0
    for figure in [name for name in UNITS if name in ours.figures]:
        mine, other = ours.figures[figure], theirs.figures.get(figure)
        better = None if other is None else ratio(mine, other, figure)
        target = comparison.targets.get((label, figure))
        verdict = ""
        if ours.workload == "idle":
            is_met = mine <= comparisons.IDLE_TARGET
            verdict = f"<= {comparisons.IDLE_TARGET:g} kB: {'met' if is_met else 'MISSED'}"
        elif target is not None and better is not None:
            # A target of 1 asks to be better, not just as good.
            is_met = better > target if target == 1 else better >= target
            verdict = f"{target:g}x: {'met' if is_met else 'MISSED'}"
        missed += "MISSED" in verdict
        what = f"{figure} {UNITS[figure]}".strip()
        row = f"{label:<18}{what:<20}{format_figure(mine):>12}"
        if other is None:
            row += f"{'-':>12}{'-':>9}"
        else:
            row += f"{format_figure(other):>12}{better:>8.2f}x"
        print(f"{row}  {verdict}", flush=True)
    for who, result in ((comparison.ours, ours), (comparison.theirs, theirs)):
        for complaint in result.wrong:
            print(f"  WRONG: {who}: {complaint}", flush=True)
    return missed


if __name__ == "__main__":
    main()
