"""The load generator's large workloads: the pace of talking, coming back, and its own limits."""

import random
import resource

import pytest

from sharechat.bench import pace as pace_module
from sharechat.bench.commands import MAX_IN_FLIGHT_BYTES, MemberSpec
from sharechat.bench.fleet import Fleet, FleetError
from sharechat.bench.member import ClosedError, Member
from sharechat.bench.pace import Pace
from sharechat.bench.returning import Returning
from sharechat.bench.target import Target
from sharechat.client.room import LONGEST_PAUSE


class TestPace:
    @pytest.fixture(autouse=True)
    def _seed(self) -> None:
        random.seed(1)

    def test_talkers_take_turns_at_the_rate(self, monkeypatch: pytest.MonkeyPatch) -> None:
        talkers = [Member(MemberSpec(number, "room"), 64) for number in range(2)]
        sent: list[int] = []
        pace = Pace(talkers, 100, 1000.0, lambda member: sent.append(member.spec.number))
        for now in range(1000, 1101):
            monkeypatch.setattr(pace_module, "monotonic", lambda now=now: float(now))
            assert not pace.send_due()
        assert len(sent) == pytest.approx(10_000, rel=0.05)
        assert sent[:4] == [0, 1, 0, 1]
        assert pace.held == 0
        assert 0.9 < pace.late <= 1

    def test_a_talker_never_has_more_in_flight_than_its_buffer_takes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        talker = Member(MemberSpec(0, "room"), 1000)
        pace = Pace([talker], 100, 0.0, lambda member: member.sent_at.append(0.0))
        monkeypatch.setattr(pace_module, "monotonic", lambda: 1.0)
        pace.send_due()
        assert len(talker.sent_at) == MAX_IN_FLIGHT_BYTES // len(talker.frame)
        assert pace.held > 0


class TestReturning:
    MEMBER = Member(MemberSpec(7, "room"), 64)

    def test_all_come_back_at_once(self) -> None:
        members = [Member(MemberSpec(number, "room"), 64) for number in range(3)]
        returning = Returning(members, 10.0)
        assert returning.take_due(9.9) is None
        assert [returning.take_due(10.0) for _ in range(4)] == [*members, None]
        assert not returning.waiting

    @pytest.mark.parametrize(
        "error",
        [
            ClosedError("refused", status=429),
            ClosedError("refused", status=503),
            ClosedError("closed", code=1012),
            ClosedError("closed", code=1013),
            ClosedError("the server closed the connection"),
        ],
    )
    def test_who_is_refused_for_now_tries_again_after_a_pause(self, error: ClosedError) -> None:
        returning = Returning([self.MEMBER], 0.0)
        for _ in range(30):
            assert returning.take_due(1000.0) is self.MEMBER
            returning.lost(self.MEMBER, error, 900.0)
            assert returning.waiting
            assert returning.take_due(899.9) is None
        assert returning.take_due(900.0 + LONGEST_PAUSE) is self.MEMBER
        assert returning.refusals.total() == 30

    @pytest.mark.parametrize(
        "error", [ClosedError("refused", status=404), ClosedError("closed", code=4410)]
    )
    def test_who_is_refused_for_good_does_not(self, error: ClosedError) -> None:
        returning = Returning([self.MEMBER], 0.0)
        returning.take_due(0.0)
        returning.lost(self.MEMBER, error, 0.0)
        assert not returning.waiting


class TestFleet:
    def test_more_members_than_a_process_may_have_files_are_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (50, 50))
        specs = [MemberSpec(number, "room") for number in range(100)]
        with (
            Fleet(Target("127.0.0.1", 1), 2, text_bytes=64) as fleet,
            pytest.raises(FleetError, match="--processes"),
        ):
            fleet.connect(specs)
