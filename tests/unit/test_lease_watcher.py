"""Who counts as dead, and whom neither an outage nor a freeze may kill."""

from sharechat.actors.lease_watcher import LeaseWatcher
from sharechat.domain.ids import ProcessId

A, B = ProcessId("a"), ProcessId("b")


def watcher() -> LeaseWatcher:
    return LeaseWatcher(ttl=10, patience=5)


def test_a_process_that_stops_renewing_is_dead_after_the_ttl_and_not_before() -> None:
    lease = watcher()
    for now in (0, 4, 8, 9.9):
        assert lease.observe({A: 1}, now) == {}
    assert lease.observe({A: 1}, 10) == {A: 1}


def test_a_process_that_renews_in_time_lives() -> None:
    lease = watcher()
    for renewal, now in enumerate(range(0, 60, 4)):
        assert lease.observe({A: renewal // 2}, now) == {}


def test_only_those_who_stopped_are_dead() -> None:
    lease = watcher()
    for now in (0, 4, 8):
        lease.observe({A: now, B: 7}, now)
    assert lease.observe({A: 12, B: 7}, 12) == {B: 7}


def test_a_newcomer_has_the_whole_ttl() -> None:
    lease = watcher()
    for now in (0, 4, 8):
        lease.observe({A: now}, now)
    for now in (12, 16, 20):
        assert lease.observe({A: now, B: 0}, now) == {}
    assert lease.observe({A: 24, B: 0}, 24) == {B: 0}


def test_one_who_was_away_and_came_back_is_a_newcomer() -> None:
    lease = watcher()
    lease.observe({A: 1}, 0)
    lease.observe({}, 4)
    for now in (8, 12, 16):
        assert lease.observe({A: 1}, now) == {}
    assert lease.observe({A: 1}, 18) == {A: 1}


def test_an_observer_that_was_frozen_starts_again() -> None:
    lease = watcher()
    lease.observe({A: 1}, 0)
    assert lease.observe({A: 1}, 60) == {}
    assert lease.observe({A: 1}, 65) == {}
    assert lease.observe({A: 1}, 70) == {A: 1}


def test_an_observer_that_could_not_see_starts_again() -> None:
    lease = watcher()
    lease.observe({A: 1}, 0)
    lease.observe({A: 1}, 5)
    lease.forget()
    assert lease.observe({A: 1}, 10) == {}
    assert lease.observe({A: 1}, 15) == {}
    assert lease.observe({A: 1}, 20) == {A: 1}
