"""Searches for a history that fails, and shrinks it: this is what hypothesis does here."""

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.simulation.history import History, histories, to_text
from tests.simulation.simulate import Report, simulate


class ViolationError(AssertionError):
    """An invariant was violated."""


class Finding(NamedTuple):
    """A history that fails, its report, and how many were tried until the first failure."""

    history: History
    report: Report
    tried: int

    def __str__(self) -> str:
        return explain(self.history, self.report)


def explain(history: History, report: Report) -> str:
    """Return what went wrong and how to replay it."""
    return "\n".join(
        (
            *report.violations,
            "",
            "To replay it and see everything that happened:",
            f"python -m tests.simulation --replay '{to_text(history)}'",
        )
    )


def hunt(
    number: int,
    max_histories: int,
    *,
    shrink: bool = False,
    on_report: Callable[[Report], None] = lambda report: None,
) -> Finding | None:
    """Try up to `max_histories` histories until one fails; `number` seeds their choice.

    `on_report` is called with the report of each history up to the first that fails.
    """
    tried = 0
    finding: Finding | None = None

    # The health checks complain about data that is large or slow to draw; these histories are.
    @seed(number)
    @settings(
        max_examples=max_histories,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories)
    def attempt(history: History) -> None:
        nonlocal tried, finding
        report = simulate(history)
        if finding is None:
            tried += 1
            on_report(report)
        if report.violations:
            # Hypothesis ends with the smallest history that fails.
            finding = Finding(history, report, tried)
            raise ViolationError

    try:
        attempt()
    except ViolationError:
        assert finding is not None
    return finding
