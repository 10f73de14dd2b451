"""The load generator: its reading of frames, its figures, and what it refuses."""

import json
import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from sharechat.bench import catalogue
from sharechat.bench.command import as_json, bench, show
from sharechat.bench.fleet import Fleet, FleetError
from sharechat.bench.member import ClosedError, Member
from sharechat.bench.plan import MAX_UNSENT, Seat
from sharechat.bench.processes import UnknownServerError, listening_on, resident_bytes
from sharechat.bench.results import Result, medians, ratio
from sharechat.bench.target import NotOursError, Target
from sharechat.bench.wire import masked, payloads, walk
from sharechat.bench.workloads import Conditions, OneToMany, Rooms
from sharechat.net.frames import CLOSE, PING, TEXT, frame

LONG = b"x" * 70_000
MEDIUM = b"y" * 300


class TestWire:
    def test_walking_finds_messages_of_every_length(self) -> None:
        data = frame(TEXT, b"short") + frame(TEXT, MEDIUM) + frame(TEXT, LONG)
        assert walk(data) == (len(data), 3, [])
        assert payloads(data) == [b"short", MEDIUM, LONG]

    @pytest.mark.parametrize("text", [b"", b"short", MEDIUM, LONG])
    def test_walking_stops_before_a_frame_that_is_not_whole(self, text: bytes) -> None:
        whole, torn = frame(TEXT, b"whole"), frame(TEXT, text)
        for end in {*range(min(len(torn), 16)), len(torn) - 1}:
            assert walk(whole + torn[:end]) == (len(whole), 1, [])

    def test_control_frames_are_no_messages(self) -> None:
        data = frame(PING, b"?") + frame(TEXT, b"a") + frame(CLOSE, b"\x03\xe8")
        assert walk(data) == (len(data), 1, [(PING, b"?"), (CLOSE, b"\x03\xe8")])
        assert payloads(data) == [b"a"]

    def test_a_fragmented_message_counts_once(self) -> None:
        first, last = bytes([0x01, 1]) + b"a", bytes([0x80, 1]) + b"b"
        assert walk(first + last)[1] == 1

    @pytest.mark.parametrize("text", [b"", b"a", MEDIUM, LONG])
    def test_what_is_sent_is_masked(self, text: bytes) -> None:
        sent = masked(TEXT, text)
        head = len(frame(TEXT, text)) - len(text)
        assert sent[1] == 0x80 | frame(TEXT, text)[1]
        assert sent[2:head] == frame(TEXT, text)[2:head]
        mask, body = sent[head : head + 4], sent[head + 4 :]
        assert bytes(b ^ mask[i % 4] for i, b in enumerate(body)) == text


class TestMember:
    @staticmethod
    def connected(listener: socket.socket, *, keeps: bool = False) -> tuple[Member, socket.socket]:
        member = Member(Seat(7, "room", talks=True, keeps=keeps), 32)
        address = listener.getsockname()
        member.connect(address)
        server, _ = listener.accept()
        member.shake_hands(address)
        assert server.recv(1000).startswith(b"GET /api/serve/room HTTP/1.1\r\n")
        return member, server

    @pytest.fixture
    def listener(self) -> socket.socket:
        return socket.create_server(("127.0.0.1", 0))

    def read(self, member: Member, server: socket.socket, data: bytes) -> list[float]:
        server.sendall(data)
        member.sock.settimeout(5)
        return member.read()

    def test_hears_its_own_messages_and_measures_them(self, listener: socket.socket) -> None:
        member, server = self.connected(listener, keeps=True)
        with listener, server:
            joined = frame(TEXT, b'{"id":"1"}')
            self.read(member, server, b"HTTP/1.1 101 Switching")
            assert self.read(member, server, b" Protocols\r\n\r\n" + joined) == []
            assert (member.first_id, member.heard) == ("1", 1)
            member.talk()
            others = frame(TEXT, b'{"id":"2","message":"@77@"}')
            own = frame(TEXT, b'{"id":"3","message":"@7@...."}')
            assert self.read(member, server, others + own[:9]) == []
            [took] = self.read(member, server, own[9:])
            assert 0 < took < 5
            assert (member.heard, member.kept) == (3, [joined, others, own])
            member.close()

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + frame(CLOSE, b"\x03\xf5slow"),
        ],
    )
    def test_says_why_it_was_closed(self, listener: socket.socket, answer: bytes) -> None:
        member, server = self.connected(listener)
        with listener, server, pytest.raises(ClosedError, match=r"404 Not Found|1013 slow"):
            self.read(member, server, answer)
        member.close()


class TestFigures:
    def test_percentiles_are_in_milliseconds(self) -> None:
        result = Result("one-to-many")
        result.take_latencies([n / 1000 for n in range(100, 0, -1)])
        assert result.figures == {"p50": pytest.approx(51), "p99": pytest.approx(100)}

    def test_medians_keep_every_complaint_once(self) -> None:
        runs = [Result("rooms", {"joins/s": n}, ["lost"]) for n in (1.0, 9.0, 2.0)]
        assert medians(runs) == Result("rooms", {"joins/s": 2.0}, ["lost"])

    def test_a_ratio_says_how_many_times_better(self) -> None:
        assert ratio(300, 100, "deliveries/s") == 3
        assert ratio(1, 3, "p50") == 3
        assert ratio(1, 0, "joins/s") == float("inf")

    def test_table_and_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        ours = Result("rooms", {"messages/s": 6000.0, "p50": 1.5})
        theirs = Result("rooms", {"messages/s": 2000.0, "p50": 4.5}, ["lost"])
        show([(ours, theirs)])
        shown = capsys.readouterr().out
        assert "6,000" in shown
        assert shown.count("3.00x") == 2
        assert "WRONG on against, rooms: lost" in shown
        assert json.loads(as_json([(ours, None)]))[0]["server"]["figures"]["p50"] == 1.5


class TestWhatItRefuses:
    def test_other_machines_unless_they_are_yours(self) -> None:
        with pytest.raises(NotOursError):
            Target.parse("http://192.0.2.1:8080")
        assert Target.parse("http://192.0.2.1:8080", may_be_remote=True).port == 8080
        assert Target.parse("localhost:8080") == Target("127.0.0.1", 8080)

    @pytest.mark.parametrize("url", ["ftp://localhost", "http://"])
    def test_what_is_no_url(self, url: str) -> None:
        with pytest.raises(ValueError, match="no URL"):
            Target.parse(url)

    def test_the_command_says_so_in_one_line(self) -> None:
        answer = CliRunner().invoke(bench, ["http://192.0.2.1"])
        assert answer.exit_code == 1
        assert "--i-own-this-server" in answer.output

    def test_more_on_the_way_than_fits(self) -> None:
        with pytest.raises(ValueError, match="window"):
            Conditions(window=64, text_bytes=MAX_UNSENT)

    def test_a_server_that_is_not_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        answer = CliRunner().invoke(bench, [f"http://127.0.0.1:{port}", "--seconds", "0.1"])
        assert answer.exit_code == 1
        assert "refused" in answer.output
        with (
            Fleet(Target("127.0.0.1", port), 1, text_bytes=16) as fleet,
            pytest.raises(FleetError, match="could not join"),
        ):
            fleet.connect([Seat(0, "room")], seconds=1)


def test_workloads_take_a_number_of_members() -> None:
    assert catalogue.make("one-to-many", 7) == OneToMany(7)
    assert catalogue.make("rooms", 70) == Rooms(rooms=7)
    assert {catalogue.make(name).name for name in catalogue.ALL} == set(catalogue.ALL)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux only")
def test_finds_who_listens_on_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert os.getpid() in listening_on(port)
        assert resident_bytes({os.getpid()}) > 1_000_000
    with pytest.raises(UnknownServerError):
        listening_on(port)
