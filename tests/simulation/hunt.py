"""Hypothesis' part: trying histories, and making the one that fails small."""

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.simulation.history import History, histories, to_text
from tests.simulation.simulate import Report, simulate


class ViolationError(AssertionError):
    """An invariant does not hold."""


class Find(NamedTuple):
    """A history that fails, and which one of those tried was the first."""

    history: History
    report: Report
    tried: int

    def __str__(self) -> str:
        return explain(self.history, self.report)


def explain(history: History, report: Report) -> str:
    """Return what went wrong and how to see it again."""
    return "\n".join(
        (
            *report.violations,
            "",
            "To see all that happened:",
            f"python -m tests.simulation --replay '{to_text(history)}'",
        )
    )


def hunt(
    number: int,
    most: int,
    *,
    shrink: bool = False,
    saw: Callable[[Report], None] = lambda report: None,
) -> Find | None:
    """Try up to `most` histories, the same ones for the same `number`, until one fails."""
    tried = 0
    find: Find | None = None

    # Hypothesis' health is about random data that is slow to make; this one is meant to be rich.
    @seed(number)
    @settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories)
    def attempt(history: History) -> None:
        nonlocal tried, find
        report = simulate(history)
        if find is None:
            tried += 1
            saw(report)
        if report.violations:
            # The last one to fail is the smallest: hypothesis ends with it.
            find = Find(history, report, tried)
            raise ViolationError

    try:
        attempt()
    except ViolationError:
        assert find is not None
    return find
