"""The token bucket: a burst passes at once, then the rate applies."""

import pytest

from sharechat.domain.token_bucket import TokenBucket


def test_a_burst_passes_at_once_and_whatever_follows_waits() -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.take(0) for _ in range(3)] == [0, 0, 0]
    assert [bucket.take(0) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])


def test_a_caller_that_waits_as_told_proceeds_at_exactly_the_rate() -> None:
    bucket = TokenBucket(rate=10, burst=2)
    now = 0.0
    times = []
    for _ in range(22):
        now += bucket.take(now)
        times.append(now)
    assert times[:2] == [0, 0]
    assert times[-1] == pytest.approx(2.0)


def test_idle_time_earns_no_more_than_a_burst() -> None:
    bucket = TokenBucket(rate=10, burst=2)
    bucket.take(0)
    assert [bucket.take(1000) for _ in range(2)] == [0, 0]
    assert bucket.take(1000) == pytest.approx(0.1)


def test_a_rate_of_zero_sets_no_limit() -> None:
    bucket = TokenBucket(rate=0, burst=1)
    assert all(bucket.take(0) == 0 for _ in range(1000))
    assert all(bucket.take_now(0) == 0 for _ in range(1000))


def test_without_a_token_a_caller_that_does_not_wait_is_told_when_there_is_one() -> None:
    bucket = TokenBucket(rate=10, burst=2)
    assert [bucket.take_now(0) for _ in range(2)] == [0, 0]
    assert [bucket.take_now(0.05) for _ in range(2)] == pytest.approx([0.05, 0.05])
    assert bucket.take_now(0.1) == 0
    assert bucket.take_now(0.1) == pytest.approx(0.1)
