"""Searches for a history that fails, and shrinks it."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from tests.simulation.focus import history_number
from tests.simulation.history import History, Op, to_text
from tests.simulation.simulate import Report, simulate


class Finding(NamedTuple):
    """A history that fails, its report, and how many were tried until it was found."""

    history: History
    report: Report
    tried: int

    def __str__(self) -> str:
        return "\n".join(
            (
                *self.report.violations,
                "",
                "To replay it and see everything that happened:",
                f"python -m tests.simulation --replay '{to_text(self.history)}'",
            )
        )


def hunt(
    first: int,
    max_histories: int,
    focus: str | None = None,
    *,
    on_report: Callable[[Report], bool] = lambda report: True,
) -> Finding | None:
    """Try histories, from the one with the number `first` on, until one fails.

    Gives up after `max_histories`, or once `on_report`, which is called with the report of each
    history, returns False.
    """
    for tried in range(1, max_histories + 1):
        history = history_number(first + tried - 1, focus)
        report = simulate(history)
        if report.violations:
            return Finding(history, report, tried)
        if not on_report(report):
            break
    return None


def shrink(finding: Finding) -> Finding:
    """Return the finding with the smallest history that was found to fail."""
    smaller = True
    while smaller:
        smaller = False
        for history in _simpler(finding.history):
            report = simulate(history)
            if report.violations:
                finding = finding._replace(history=history, report=report)
                smaller = True
                break
    return finding


def _simpler(history: History) -> Iterator[History]:
    """Yield histories that are one step simpler, those with the fewest ops first."""
    ops = history.ops
    size = len(ops)
    while size:
        for start in range(0, len(ops), size):
            yield msgspec.structs.replace(history, ops=ops[:start] + ops[start + size :])
        size //= 2
    for field in ("initial_members", "old_entries", "patience", "quiet_time"):
        if getattr(history, field):
            yield msgspec.structs.replace(history, **{field: 0})
    for number, op in enumerate(ops):
        for field in ("delay", "target", "variant"):
            if getattr(op, field):
                simple: Op = msgspec.structs.replace(op, **{field: 0})
                yield msgspec.structs.replace(
                    history, ops=(*ops[:number], simple, *ops[number + 1 :])
                )
