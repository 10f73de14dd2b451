"""The figures of a run, and how to combine those of several runs and compare two servers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

UNITS = {
    "deliveries/s": "",
    "messages/s": "",
    "joins/s": "",
    "p50": "ms",
    "p99": "ms",
    "p99 alone": "ms",
    "memory": "kB/member",
    "MB/s": "",
    "closed after": "s",
}
"""All figures in the order in which they are shown, with their units."""

SMALLER_IS_BETTER = frozenset({"p50", "p99", "p99 alone", "memory", "closed after"})


@dataclass
class Result:
    """One run of one workload: its figures, and a sentence for each failed check."""

    workload: str
    figures: dict[str, float] = field(default_factory=dict)
    """By name, in the units of UNITS."""
    wrong: list[str] = field(default_factory=list)

    def add_latencies(self, seconds: Sequence[float]) -> None:
        """Add the percentiles of `seconds`, each a time until a message came back.

        Adds nothing if there are none.
        """
        if ordered := sorted(seconds):
            self.figures["p50"] = 1000 * ordered[len(ordered) // 2]
            self.figures["p99"] = 1000 * ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


def medians(results: Sequence[Result]) -> Result:
    """Return the median of each figure over the runs of one workload.

    A figure that some runs lack is the median of the others. Failed checks of all runs are
    kept, each once. `results` must not be empty.
    """
    names = [name for name in UNITS if any(name in result.figures for result in results)]
    figures = {
        name: median(r.figures[name] for r in results if name in r.figures) for name in names
    }
    wrong = [complaint for result in results for complaint in result.wrong]
    return Result(results[0].workload, figures, list(dict.fromkeys(wrong)))


def ratio(ours: float, theirs: float, figure: str) -> float:
    """Return how many times better `ours` is than `theirs`; infinity instead of division by 0.

    More is better unless the figure is in SMALLER_IS_BETTER.
    """
    if figure in SMALLER_IS_BETTER:
        ours, theirs = theirs, ours
    return ours / theirs if theirs else float("inf")


def format_figure(value: float) -> str:
    """Return a figure as text, to three significant digits or in whole numbers."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
