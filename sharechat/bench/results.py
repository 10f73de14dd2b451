"""Figures, and how those of several runs and two servers are put together."""

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
"""The figures that there are, in the order shown, with their units."""

SMALLER_IS_BETTER = frozenset({"p50", "p99", "p99 alone", "memory", "closed after"})


@dataclass
class Result:
    """One run of one workload: its figures, and what the checks found wrong."""

    workload: str
    figures: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def take_latencies(self, seconds: Sequence[float]) -> None:
        """Add the percentiles of what messages took to come back to who sent them."""
        if ordered := sorted(seconds):
            self.figures["p50"] = 1000 * ordered[len(ordered) // 2]
            self.figures["p99"] = 1000 * ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


def medians(results: Sequence[Result]) -> Result:
    """Return the median of each figure of several runs of one workload."""
    names = [name for name in UNITS if any(name in result.figures for result in results)]
    figures = {
        name: median(r.figures[name] for r in results if name in r.figures) for name in names
    }
    wrong = [complaint for result in results for complaint in result.wrong]
    return Result(results[0].workload, figures, list(dict.fromkeys(wrong)))


def ratio(ours: float, theirs: float, figure: str) -> float:
    """Return how many times better ours is, whichever way better is."""
    if figure in SMALLER_IS_BETTER:
        ours, theirs = theirs, ours
    return ours / theirs if theirs else float("inf")
