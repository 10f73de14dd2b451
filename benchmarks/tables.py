"""The tables of the README, from the results of one run of the benchmarks.

    python -m benchmarks.tables

Each ratio comes from pairs of runs in turn, so the figures of sharechat differ a little between
the comparisons; the tables show those of the first one.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sharechat.bench.results import Result, medians, ratio

_ROOT = Path(__file__).resolve().parent.parent
README = _ROOT / "README.md"
RESULTS = _ROOT / "benchmarks" / "results.json"

Report = Mapping[str, Any]
"""What `python -m benchmarks` writes: by comparison, workload and server, a result for each run."""

_END = "<!-- end -->"


class Row(NamedTuple):
    """A figure of a workload, and what the table calls it."""

    workload: str
    figure: str
    words: str


class Table(NamedTuple):
    """A table between two comments in the README."""

    name: str
    head: str
    comparisons: Sequence[str]
    """Each is a column with the ratio; the figures of both servers come from the first."""
    rivals: Sequence[str]
    rows: Sequence[Row]


TABLES = (
    Table(
        "clustered",
        "over Postgres and Redis",
        ("clustered",),
        ("plain server",),
        (
            Row("many-to-many", "deliveries/s", "100 talk in a room of 100, deliveries/s"),
            Row("rooms", "messages/s", "100 talk in 50 rooms of 10, messages/s"),
            Row("one-to-many", "deliveries/s", "one talks to 100, deliveries/s"),
            Row("joins", "joins/s", "500 join 50 rooms at once, joins/s"),
            Row("join-storm", "joins/s", "1,000 join one room at once, joins/s"),
            Row("idle", "memory", "an idle member, kB"),
        ),
    ),
    Table(
        "in memory",
        "with nothing stored outside the process",
        ("embedded", "node", "bun"),
        ("plain server", "Node's ws", "Bun"),
        (
            Row("many-to-many", "deliveries/s", "100 talk in a room of 100, deliveries/s"),
            Row("rooms", "messages/s", "100 talk in 50 rooms of 10, messages/s"),
            Row("one-to-many", "deliveries/s", "one talks to 100, deliveries/s"),
            Row("one-to-many:1000", "deliveries/s", "one talks to 1,000, deliveries/s"),
            Row("joins", "joins/s", "500 join 50 rooms at once, joins/s"),
        ),
    ),
)


def write(table: Table, report: Report) -> str:
    """Return the table in Markdown.

    What was not measured is a dash; a comparison of which nothing was measured has no column.
    """
    columns = {
        name: f"against {rival}"
        for name, rival in zip(table.comparisons, table.rivals, strict=True)
        if any(_compare(report.get(name, {}), row) for row in table.rows)
    }
    lines = [
        f"| {table.head} | sharechat | {' | '.join(columns.values())} |",
        "|---|---|" + "---|" * len(columns),
    ]
    for row in table.rows:
        cells = [_compare(report[name], row) for name in columns]
        ours = next((cell.ours for cell in cells if cell is not None), None)
        if ours is not None:
            ratios = [f"{cell.ratio:.1f}x" if cell else "-" for cell in cells]
            lines.append(f"| {row.words} | {_round(ours)} | {' | '.join(ratios)} |")
    return "\n".join(lines)


class _Cell(NamedTuple):
    ours: float
    ratio: float


def _compare(comparison: Report, row: Row) -> _Cell | None:
    servers = comparison.get(row.workload)
    if not servers:
        return None
    ours, theirs = (
        medians([Result(row.workload, run["figures"]) for run in runs]).figures.get(row.figure)
        for runs in servers.values()
    )
    if ours is None or theirs is None:
        return None
    return _Cell(ours, ratio(ours, theirs, row.figure))


def _round(value: float) -> str:
    """Return a figure with three significant digits."""
    text = f"{float(f'{value:.3g}'):,.1f}"
    return text.removesuffix(".0") if value >= 100 else text


def replace(text: str, table: Table, markdown: str) -> str:
    """Return `text` with the table's place filled. Raises ValueError if there is none."""
    begin = f"<!-- {table.name}: make bench-readme writes this table -->"
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(_END)
    if not (found and ended):
        raise ValueError(f"there is no place for the table {table.name!r}")
    return f"{before}{begin}\n{markdown}\n{_END}{after}"


def main() -> None:
    report = json.loads(RESULTS.read_text("utf-8"))
    text = README.read_text("utf-8")
    for table in TABLES:
        text = replace(text, table, write(table, report))
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
