"""Admission: the buckets of an address, and the bounds of the tables that hold them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trio
from trio.testing import MockClock

from sharechat.domain.errors import FullError, TooFastError, TooManyConnectionsError
from sharechat.domain.token_bucket import TokenBucket
from sharechat.net.admission import Admission

ONE, OTHER = "192.0.2.1", "192.0.2.2"


def make(**limits: float) -> Admission:
    """Return an Admission with some limits; the others are never reached."""
    counts = {"max_members": 1_000_000, "max_per_address": 1_000_000}
    return Admission(**(counts | limits), trusted_proxies=["10.0.0.0/8"])  # type: ignore[arg-type]


def make_room(admission: Admission, address: str = ONE) -> None:
    admission.admit_room(address, [], [])


@contextmanager
def member(admission: Admission, address: str = ONE) -> Iterator[TokenBucket]:
    """A member that comes through a proxy."""
    with admission.admit_member("10.0.0.1", [address], []) as messages:
        yield messages


async def test_rooms_past_a_burst_are_refused_until_time_has_passed(
    autojump_clock: MockClock,
) -> None:
    admission = make(room_rate=0.1)
    for _ in range(10):
        make_room(admission)
    with pytest.raises(TooFastError) as refused:
        make_room(admission)
    assert refused.value.retry_after == 10
    make_room(admission, OTHER)
    await trio.sleep(refused.value.retry_after)
    make_room(admission)
    with pytest.raises(TooFastError):
        make_room(admission)


async def test_joining_again_and_again_is_refused_and_takes_no_place(
    autojump_clock: MockClock,
) -> None:
    admission = make(join_rate=0.1, max_members=1, max_per_address=1)
    for _ in range(10):
        with member(admission):
            pass
    for _ in range(3):
        with pytest.raises(TooFastError), member(admission):
            pass
    with member(admission, OTHER):
        with pytest.raises(FullError), member(admission):
            pass
    await trio.sleep(10)
    with member(admission):
        pass


async def test_a_refusal_for_another_reason_counts_as_no_join(autojump_clock: MockClock) -> None:
    admission = make(join_rate=0.02, max_per_address=1)
    with member(admission):
        for _ in range(5):
            with pytest.raises(TooManyConnectionsError), member(admission):
                pass
    with member(admission):
        pass


async def test_the_members_of_an_address_share_a_bucket_also_after_joining_again(
    autojump_clock: MockClock,
) -> None:
    admission = make(message_rate=1, message_burst=2)
    now = trio.current_time()
    with member(admission) as first, member(admission, "::ffff:" + ONE) as second:
        assert [first.take(now) for _ in range(15)] == [0] * 15
        assert [second.take(now) for _ in range(5)] == [0] * 5
        assert second.take(now) == pytest.approx(0.1)
    with member(admission) as third, member(admission, OTHER) as stranger:
        assert third.take(now) == pytest.approx(0.2)
        assert stranger.take(now) == 0


async def test_rates_of_zero_set_no_limit() -> None:
    admission = make()
    with ExitStack() as stack:
        for _ in range(1000):
            make_room(admission)
            assert stack.enter_context(member(admission)).take(0) == 0


async def test_of_very_many_addresses_the_one_that_was_used_least_recently_is_forgotten() -> None:
    """The table is bounded: an address that pushes out its own entry had as good a one anyway."""
    admission = make(room_rate=0.01)
    make_room(admission)
    with pytest.raises(TooFastError):
        make_room(admission)
    for number in range(20_000):
        make_room(admission, f"2001:db8:0:{number:x}::1")
    make_room(admission)
    with pytest.raises(TooFastError):
        make_room(admission, f"2001:db8:0:{19_999:x}::2")


def test_an_address_gets_its_place_back_when_its_connection_fails() -> None:
    admission = make(max_per_address=1)
    for _ in range(2):
        with pytest.raises(RuntimeError), admission.admit_connection(ONE):
            raise RuntimeError("a bug")
    with admission.admit_connection(ONE):
        with pytest.raises(TooManyConnectionsError), admission.admit_connection(ONE):
            pass


async def test_a_member_gives_its_places_back_when_it_fails() -> None:
    admission = make(max_members=1, max_per_address=1)
    for address in (ONE, ONE, OTHER):
        with pytest.raises(RuntimeError), member(admission, address):
            raise RuntimeError("a bug")


async def test_a_member_that_is_refused_takes_no_place() -> None:
    admission = make(max_members=2, max_per_address=1)
    with member(admission):
        for _ in range(3):
            with pytest.raises(TooManyConnectionsError), member(admission):
                pass
        with member(admission, OTHER):
            for _ in range(3):
                with pytest.raises(FullError), member(admission, "192.0.2.3"):
                    pass
        with member(admission, OTHER):
            pass
