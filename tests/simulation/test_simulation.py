"""The simulation as a test: as many histories as a few seconds allow, always the same ones."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.simulation.breaks import BREAKS
from tests.simulation.focus import history_number
from tests.simulation.history import Action, BusKind, History, Limits, Op, from_text, to_text
from tests.simulation.hunt import hunt
from tests.simulation.simulate import simulate


def test_no_history_violates_an_invariant() -> None:
    finding = hunt(0, 200)
    assert finding is None, f"\n{finding}"


@pytest.mark.parametrize("number", range(15))
def test_a_history_replays_exactly(number: int) -> None:
    history = history_number(number)
    assert simulate(history) == simulate(from_text(to_text(history)))


@pytest.fixture(scope="module", name="findings")
def _findings() -> Iterator[Mapping[str, Future[bool]]]:
    """Whether each break is found; they are looked for on all cores."""
    # A process that is forked would inherit what other tests have left open.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield {name: pool.submit(_is_found, name) for name in BREAKS}
        pool.shutdown(cancel_futures=True)


def _is_found(name: str) -> bool:
    broken = BREAKS[name]
    with broken.apply():
        return hunt(0, 1000, broken.focus) is not None


# It waits for the breaks that come before its own.
@pytest.mark.time_limit(300)
@pytest.mark.parametrize("name", BREAKS)
def test_the_simulation_finds_a_broken_protocol(
    name: str, findings: Mapping[str, Future[bool]]
) -> None:
    assert findings[name].result()


def test_a_process_that_fails_to_start_is_asked_for_nothing() -> None:
    outage, start = Op(0, Action.OUTAGE, variant=5), Op(0, Action.START)
    requests = [Op(0, Action.DELETE, target=1)] * 6
    history = History(
        seed=0,
        processes=1,
        initial_members=0,
        limits=Limits.REAL,
        bus=BusKind.FAKE,
        old_entries=0,
        patience=0,
        quiet_time=0,
        ops=(outage, start, *requests),
    )
    assert not simulate(history).violations
