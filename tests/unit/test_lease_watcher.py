"""The lease watcher: when a process counts as dead, and when an observer must start over."""

from sharechat.actors.lease_watcher import LeaseWatcher
from sharechat.domain.ids import ProcessId

A, B = ProcessId("a"), ProcessId("b")


def watcher() -> LeaseWatcher:
    return LeaseWatcher(ttl=10, patience=5)


def test_a_process_that_stops_renewing_is_dead_once_the_ttl_is_over() -> None:
    observer = watcher()
    for now in (0, 4, 8, 9.9):
        assert observer.observe({A: 1}, now) == {}
    assert observer.observe({A: 1}, 10) == {A: 1}


def test_a_process_that_renews_in_time_is_never_dead() -> None:
    observer = watcher()
    for renewal, now in enumerate(range(0, 60, 4)):
        assert observer.observe({A: renewal // 2}, now) == {}


def test_only_processes_that_stopped_renewing_are_dead() -> None:
    observer = watcher()
    for now in (0, 4, 8):
        observer.observe({A: now, B: 7}, now)
    assert observer.observe({A: 12, B: 7}, 12) == {B: 7}


def test_a_new_process_has_the_whole_ttl() -> None:
    observer = watcher()
    for now in (0, 4, 8):
        observer.observe({A: now}, now)
    for now in (12, 16, 20):
        assert observer.observe({A: now, B: 0}, now) == {}
    assert observer.observe({A: 24, B: 0}, 24) == {B: 0}


def test_a_process_that_was_away_and_came_back_counts_as_new() -> None:
    observer = watcher()
    observer.observe({A: 1}, 0)
    observer.observe({}, 4)
    for now in (8, 12, 16):
        assert observer.observe({A: 1}, now) == {}
    assert observer.observe({A: 1}, 18) == {A: 1}


def test_an_observer_that_was_frozen_starts_over() -> None:
    observer = watcher()
    observer.observe({A: 1}, 0)
    assert observer.observe({A: 1}, 60) == {}
    assert observer.observe({A: 1}, 65) == {}
    assert observer.observe({A: 1}, 70) == {A: 1}


def test_an_observer_that_could_not_read_the_renewals_starts_over() -> None:
    observer = watcher()
    observer.observe({A: 1}, 0)
    observer.observe({A: 1}, 5)
    observer.forget()
    assert observer.observe({A: 1}, 10) == {}
    assert observer.observe({A: 1}, 15) == {}
    assert observer.observe({A: 1}, 20) == {A: 1}
