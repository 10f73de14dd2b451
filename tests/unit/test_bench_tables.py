"""The tables of the README are written from the results of the benchmarks."""

from collections.abc import Mapping

import pytest

from benchmarks.comparisons import COMPARISONS
from benchmarks.tables import README, TABLES, Table, replace, write

CLUSTERED, IN_MEMORY = TABLES


def runs(figure: str, *values: float) -> list[object]:
    return [{"figures": {figure: value}, "wrong": []} for value in values]


def pair(figure: str, ours: float, theirs: float) -> Mapping[str, object]:
    return {"sharechat": runs(figure, ours), "other": runs(figure, theirs)}


def test_a_row_has_the_median_and_the_ratio() -> None:
    report = {
        "clustered": {
            "rooms": {
                "sharechat": runs("messages/s", 6000, 6654, 9000),
                "yardstick": runs("messages/s", 2000, 2080, 100),
            }
        }
    }
    *_, row = write(CLUSTERED, report).splitlines()
    assert row == "| 100 talk in 50 rooms of 10, messages/s | 6,650 | 3.3x |"


def test_less_memory_is_better() -> None:
    report = {"clustered": {"idle": pair("memory", 19.73, 32.5)}}
    *_, row = write(CLUSTERED, report).splitlines()
    assert row == "| an idle member, kB | 19.7 | 1.6x |"


def test_what_was_not_measured_is_a_dash_or_left_out() -> None:
    report = {
        "embedded": {"rooms": pair("messages/s", 12_000, 6000)},
        "bun": {
            "rooms": pair("messages/s", 11_000, 44_000),
            "joins": pair("joins/s", 800, 4000),
        },
    }
    head, _, *rows = write(IN_MEMORY, report).splitlines()
    assert "Bun" in head
    assert "Node" not in head
    assert rows == [
        "| 100 talk in 50 rooms of 10, messages/s | 12,000 | 2.0x | 0.2x |",
        "| 500 join 50 rooms at once, joins/s | 800 | - | 0.2x |",
    ]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_readme_has_a_place_for_the_table_and_keeps_the_rest(table: Table) -> None:
    text = README.read_text("utf-8")
    changed = replace(text, table, "THE TABLE")
    assert "THE TABLE" in changed
    head, _, tail = changed.partition("THE TABLE")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert replace(changed, table, "THE TABLE") == changed


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_benchmarks_measure_what_the_table_shows(table: Table) -> None:
    measured = {comparison.name: set(comparison.workloads) for comparison in COMPARISONS}
    columns = [measured[name] for name in table.comparisons]
    assert {row.workload for row in table.rows} <= set().union(*columns)
