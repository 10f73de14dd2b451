"""The figures of a run, and how to combine those of several runs and compare two servers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from sharechat.bench.delays import Delays, percentile

UNITS = {
    "most deliveries/s": "",
    "most messages/s": "",
    "deliveries/s": "",
    "messages/s": "",
    "joins/s": "",
    "p50": "ms",
    "p99": "ms",
    "p99.9": "ms",
    "max": "ms",
    "p99 alone": "ms",
    "memory": "kB/member",
    "memory at first": "MB",
    "memory at last": "MB",
    "memory at most": "MB",
    "MB/s": "",
    "closed after": "s",
    "half back after": "s",
    "all back after": "s",
    "refused attempts": "",
}
"""All figures in the order in which they are shown, with their units."""

SMALLER_IS_BETTER = frozenset(name for name in UNITS if not name.endswith("/s"))


@dataclass
class Result:
    """One run of one workload: its figures, and a sentence for each failed check."""

    workload: str
    figures: dict[str, float] = field(default_factory=dict)
    """By name, in the units of UNITS."""
    wrong: list[str] = field(default_factory=list)
    details: dict[str, object] = field(default_factory=dict)
    """What JSON shows besides."""

    def add_latencies(self, seconds: Sequence[float]) -> None:
        """Add the percentiles of `seconds`, each a time until a message came back.

        Adds nothing if there are none.
        """
        if ordered := sorted(seconds):
            self.figures["p50"] = 1000 * ordered[len(ordered) // 2]
            self.figures["p99"] = 1000 * ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]

    def add_delays(self, delays: Delays) -> None:
        """Add the percentiles of the time that deliveries took. Adds nothing if there are none."""
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
            if delays:
                self.figures[name] = 1000 * percentile(delays, share)

    def as_json(self) -> dict[str, object]:
        """Return the figures, the failed checks and the details, if any."""
        report: dict[str, object] = {"figures": self.figures, "wrong": self.wrong}
        return report | ({"details": self.details} if self.details else {})


def medians(results: Sequence[Result]) -> Result:
    """Return the median of each figure over the runs of one workload.

    A figure that some runs lack is the median of the others. Failed checks of all runs are
    kept, each once, and the details of the last run. `results` must not be empty.
    """
    names = [name for name in UNITS if any(name in result.figures for result in results)]
    figures = {
        name: median(r.figures[name] for r in results if name in r.figures) for name in names
    }
    wrong = [complaint for result in results for complaint in result.wrong]
    wrong = list(dict.fromkeys(wrong))
    return Result(results[0].workload, figures, wrong, results[-1].details)


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
