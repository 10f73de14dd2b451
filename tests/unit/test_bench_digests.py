"""The load generator's large workloads: how long deliveries took, and whether all were made."""

import socket
from collections.abc import Iterator, Mapping, Sequence

import pytest

from sharechat.bench.checks import check_digests
from sharechat.bench.commands import Drained, MemberSpec
from sharechat.bench.delays import Delays, bucket, percentile
from sharechat.bench.digesting import DigestingMember, digest_of
from sharechat.bench.fleet import Fleet
from sharechat.bench.member import ClosedError
from sharechat.bench.results import Result, ratio
from sharechat.bench.target import Target
from sharechat.net.frames import PING, TEXT, frame

ME = "8c5d"
ACCEPTED = f"HTTP/1.1 101 Switching Protocols\r\nSharechat-Member-Id: {ME}\r\n\r\n".encode()


def message(id_: str, text: str = "hello", member: str = "other") -> bytes:
    return frame(TEXT, f'{{"id":"{id_}","memberId":"{member}","message":"{text}"}}'.encode())


class Peer:
    """A server for one member, which it connects."""

    def __init__(self, *, talks: bool = True) -> None:
        self.delays = Delays()
        self.member = DigestingMember(MemberSpec(7, "room", talks=talks), 64, None, self.delays)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.asked = b""

    def has_joined(self) -> bool:
        return self.member.joined_at is not None

    def connect(self) -> None:
        self.member.connect(self._listener.getsockname())
        self.server, _ = self._listener.accept()
        self.member.go_on_connecting(self._listener.getsockname())
        self.asked = self.server.recv(1000)
        self.member.sock.settimeout(5)

    def hears(self, data: bytes) -> list[float]:
        self.server.sendall(data)
        return self.member.read()

    def close(self) -> None:
        self.member.close()
        self.server.close()
        self._listener.close()


@pytest.fixture(name="peer")
def _peer() -> Iterator[Peer]:
    peer = Peer()
    peer.connect()
    peer.hears(ACCEPTED + message("0", member=ME))
    peer.member.mark()
    yield peer
    peer.close()


class TestDelays:
    @pytest.mark.parametrize("share", [0.5, 0.99, 1.0])
    def test_a_percentile_is_right_to_within_a_hundredth(self, share: float) -> None:
        delays = Delays(bucket(microseconds) for microseconds in range(1, 100_001))
        assert percentile(delays, share) == pytest.approx(share / 10, rel=0.02)

    def test_what_takes_no_time_counts_as_a_microsecond(self) -> None:
        assert bucket(0) == bucket(-5) == bucket(1)

    def test_the_percentiles_are_figures_in_milliseconds(self) -> None:
        result = Result("soak")
        result.add_delays(Delays())
        assert result.figures == {}
        result.add_delays(Delays([bucket(2000)]))
        assert result.figures == dict.fromkeys(
            ("p50", "p99", "p99.9", "max"), pytest.approx(2, rel=0.02)
        )

    def test_less_time_is_better_and_more_a_second_is(self) -> None:
        assert ratio(1, 3, "p99.9") == ratio(1, 3, "all back after") == 3
        assert ratio(3, 1, "most messages/s") == 3


class TestDigest:
    def test_it_is_that_of_the_ids_however_the_frames_come(self, peer: Peer) -> None:
        data = message("1") + frame(PING, b'"id":"no"') + message("2", r"\"id\":\"no\"")
        for start in range(0, len(data), 7):
            peer.hears(data[start : start + 7])
        assert peer.member.heard == 2
        assert peer.member.digest == digest_of([b"1", b"2"])
        assert peer.member.last_id == "2"

    def test_it_depends_on_the_order_and_on_what_is_repeated(self) -> None:
        digests = {digest_of(ids) for ids in ([b"1", b"2"], [b"2", b"1"], [b"1", b"2", b"2"])}
        assert len(digests) == 3

    def test_a_talker_measures_what_all_say_and_knows_its_own(self, peer: Peer) -> None:
        peer.member.send()
        sent = peer.server.recv(1000)
        assert len(sent) == 64 + 6
        now = f"{int(peer.member.sent_at[0] * 1_000_000)}"
        assert peer.hears(message("1", f"@77@0@{now}@...")) == []
        assert len(peer.hears(message("2", f"@7@0@{now}@..."))) == 1
        assert peer.delays.total() == 2
        assert peer.member.misheard == 0

    @pytest.mark.parametrize("numbers", [[0, 0], [1, 0], [0, 2]])
    def test_a_talker_notices_what_is_repeated_reordered_or_lost(
        self, peer: Peer, numbers: list[int]
    ) -> None:
        for number in numbers:
            peer.hears(message("1", f"@7@{number}@0@..."))
        assert peer.member.misheard

    def test_who_comes_back_asks_for_what_it_missed_and_has_joined_after_that(
        self, peer: Peer
    ) -> None:
        peer.hears(message("1"))
        peer.server.close()
        with pytest.raises(ClosedError):
            peer.member.read()
        peer.member.close()
        peer.connect()
        assert peer.asked.startswith(b"GET /api/serve/room?after=1 HTTP/1.1\r\n")
        peer.hears(ACCEPTED + message("2"))
        assert not peer.has_joined()
        peer.hears(message("3", member=ME))
        assert peer.has_joined()
        assert peer.member.digest == digest_of([b"1", b"2", b"3"])


class DigestingFleet(Fleet):
    """Members that have heard the messages with these ids since Fleet.mark."""

    def __init__(self, heard: Mapping[int, str], misheard: Sequence[int]) -> None:
        self._heard = heard
        self._misheard = misheard

    def drain(self, expected: dict[int, int], *, timeout: float = 20) -> list[Drained]:
        miscounted = {n: (len(h), expected[n]) for n, h in self._heard.items()}
        return [
            Drained(
                0.0,
                {n: counts for n, counts in miscounted.items() if counts[0] != counts[1]},
                digests={n: digest_of([i.encode() for i in h]) for n, h in self._heard.items()},
                misheard=list(self._misheard),
            )
        ]


class ScriptedTarget(Target):
    """A server whose rooms have this history."""

    ids: str | None = None

    def history(self, room: str) -> list[str] | None:
        return None if self.ids is None else list(self.ids)


class TestChecks:
    """A room of two, whose `joined` are messages 1 and 2; then 3, 4 and 5 were sent."""

    @staticmethod
    def check(
        first: str, second: str, history: str | None = None, misheard: Sequence[int] = ()
    ) -> list[str]:
        target = ScriptedTarget("127.0.0.1", 8080)
        object.__setattr__(target, "ids", history)
        specs = [MemberSpec(number, "room", digests=True) for number in (0, 1)]
        fleet = DigestingFleet({0: first, 1: second}, misheard)
        return check_digests(fleet, target, specs, {"room": 3}, {"room": 2})

    @pytest.mark.parametrize("history", [None, "12345"])
    def test_members_that_heard_everything_pass(self, history: str | None) -> None:
        assert self.check("345", "345", history) == []

    @pytest.mark.parametrize(
        ("first", "second", "wrong"),
        [
            ("345", "34", "heard the wrong number of messages"),
            ("345", "3445", "heard the wrong number of messages"),
            ("345", "354", "in 1 of the rooms members heard other messages than others"),
            ("345", "344", "in 1 of the rooms members heard other messages than others"),
            ("34", "34", "the history has other messages, or another order"),
            ("354", "354", "the history has other messages, or another order"),
        ],
    )
    def test_lost_repeated_and_reordered_messages_are_found(
        self, first: str, second: str, wrong: str
    ) -> None:
        assert any(wrong in complaint for complaint in self.check(first, second, "12345"))

    def test_so_are_those_that_all_have_lost_alike(self) -> None:
        assert self.check("345", "345", misheard=[1]) == [
            "member 1 heard its own messages out of turn"
        ]
