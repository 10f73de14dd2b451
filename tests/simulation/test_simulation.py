"""The simulation as a test: as many histories as a few seconds allow, always the same ones."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.simulation.breaks import BREAKS
from tests.simulation.history import History, from_text, histories, to_text
from tests.simulation.hunt import ViolationError, explain, hunt
from tests.simulation.simulate import simulate

_REPEATABLE = settings(
    deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@settings(_REPEATABLE, max_examples=200)
@given(histories)
def test_no_history_violates_an_invariant(history: History) -> None:
    report = simulate(history)
    if report.violations:
        raise ViolationError(explain(history, report))


@settings(_REPEATABLE, max_examples=15)
@given(histories)
def test_a_history_replays_exactly(history: History) -> None:
    first, second = simulate(history), simulate(from_text(to_text(history)))
    assert first == second


@pytest.mark.parametrize(
    ("name", "symptom"),
    [
        ("gap-repair", "has not heard the end"),
        ("dedupe", "wrong from message"),
        ("publish-before-commit", "wrong from message"),
        ("late-welcome", "has not heard the end"),
    ],
)
def test_the_simulation_finds_a_broken_protocol(name: str, symptom: str) -> None:
    with BREAKS[name]():
        finding = hunt(0, 200)
    assert finding
    assert symptom in str(finding)
