"""The load generator `sharechat bench`: frames, figures, checks, and what it refuses."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from sharechat.bench import catalogue
from sharechat.bench.checks import check
from sharechat.bench.command import as_json, bench, show
from sharechat.bench.commands import MAX_IN_FLIGHT_BYTES, Drained, MemberSpec
from sharechat.bench.fleet import Fleet, FleetError
from sharechat.bench.member import ClosedError, Member
from sharechat.bench.processes import UnknownServerError, pids_listening_on, resident_bytes
from sharechat.bench.results import Result, medians, ratio
from sharechat.bench.target import RemoteTargetError, Target
from sharechat.bench.wire import masked_frame, message_payloads, scan
from sharechat.bench.workloads import OneToMany, Parameters, Rooms
from sharechat.net.frames import CLOSE, PING, TEXT, frame

LONG = b"x" * 70_000
MEDIUM = b"y" * 300


@contextmanager
def serving(answer: bytes) -> Iterator[int]:
    """Listen on the yielded port, answer one request with these bytes and close."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


class TestWire:
    def test_a_scan_counts_messages_of_every_length(self) -> None:
        data = frame(TEXT, b"short") + frame(TEXT, MEDIUM) + frame(TEXT, LONG)
        assert scan(data) == (len(data), 3, [])
        assert message_payloads(data) == [b"short", MEDIUM, LONG]

    @pytest.mark.parametrize("text", [b"", b"short", MEDIUM, LONG])
    def test_a_scan_stops_before_an_incomplete_frame(self, text: bytes) -> None:
        complete, cut = frame(TEXT, b"complete"), frame(TEXT, text)
        for end in {*range(min(len(cut), 16)), len(cut) - 1}:
            assert scan(complete + cut[:end]) == (len(complete), 1, [])

    def test_control_frames_are_not_counted_as_messages(self) -> None:
        data = frame(PING, b"?") + frame(TEXT, b"a") + frame(CLOSE, b"\x03\xe8")
        assert scan(data) == (len(data), 1, [(PING, b"?"), (CLOSE, b"\x03\xe8")])
        assert message_payloads(data) == [b"a"]

    def test_a_fragmented_message_is_counted_once(self) -> None:
        first, last = bytes([0x01, 1]) + b"a", bytes([0x80, 1]) + b"b"
        assert scan(first + last)[1] == 1

    @pytest.mark.parametrize("text", [b"", b"a", MEDIUM, LONG])
    def test_frames_to_the_server_are_masked(self, text: bytes) -> None:
        sent = masked_frame(TEXT, text)
        head = len(frame(TEXT, text)) - len(text)
        assert sent[1] == 0x80 | frame(TEXT, text)[1]
        assert sent[2:head] == frame(TEXT, text)[2:head]
        mask, body = sent[head : head + 4], sent[head + 4 :]
        assert bytes(b ^ mask[i % 4] for i, b in enumerate(body)) == text


class TestMember:
    @staticmethod
    def connected(
        listener: socket.socket, *, records: bool = False
    ) -> tuple[Member, socket.socket]:
        member = Member(MemberSpec(7, "room", talks=True, records=records), 32)
        address = listener.getsockname()
        member.connect(address)
        server, _ = listener.accept()
        member.go_on_connecting(address)
        assert server.recv(1000).startswith(b"GET /api/serve/room HTTP/1.1\r\n")
        return member, server

    @pytest.fixture
    def listener(self) -> socket.socket:
        return socket.create_server(("127.0.0.1", 0))

    def read(self, member: Member, server: socket.socket, data: bytes) -> list[float]:
        server.sendall(data)
        member.sock.settimeout(5)
        return member.read()

    def test_a_member_measures_the_latency_of_its_own_messages(
        self, listener: socket.socket
    ) -> None:
        member, server = self.connected(listener, records=True)
        with listener, server:
            joined = frame(TEXT, b'{"id":"1"}')
            self.read(member, server, b"HTTP/1.1 101 Switching")
            assert self.read(member, server, b" Protocols\r\n\r\n" + joined) == []
            assert (member.first_id, member.heard) == ("1", 1)
            member.send()
            others = frame(TEXT, b'{"id":"2","message":"@77@"}')
            own = frame(TEXT, b'{"id":"3","message":"@7@...."}')
            assert self.read(member, server, others + own[:9]) == []
            [latency] = self.read(member, server, own[9:])
            assert 0 < latency < 5
            assert (member.heard, member.recorded) == (3, [joined, others, own])
            member.close()

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + frame(CLOSE, b"\x03\xf5slow"),
        ],
    )
    def test_the_reason_for_a_closed_connection_is_reported(
        self, listener: socket.socket, answer: bytes
    ) -> None:
        member, server = self.connected(listener)
        with listener, server, pytest.raises(ClosedError, match=r"404 Not Found|1013 slow"):
            self.read(member, server, answer)
        member.close()


class ScriptedFleet(Fleet):
    """Members that have heard the messages with these ids, and nothing more."""

    def __init__(self, heard: Mapping[int, Sequence[str]], lost: Mapping[int, str]) -> None:
        self._heard = heard
        self._lost = lost

    def drain(self, expected: dict[int, int], *, timeout: float = 20) -> list[Drained]:
        heard = {number: list(ids) for number, ids in self._heard.items() if number in expected}
        miscounted = {
            number: (len(ids), expected[number])
            for number, ids in heard.items()
            if len(ids) != expected[number]
        }
        lost = {number: why for number, why in self._lost.items() if number in expected}
        return [Drained(0.0, miscounted, heard, lost)]


@dataclass(frozen=True)
class ScriptedTarget(Target):
    """A server with this history."""

    ids: list[str] | None = None

    def history(self, room: str) -> list[str] | None:
        return self.ids


class TestChecks:
    """Two members; the first joined as message 1, the second as 2, and then two were sent."""

    @staticmethod
    def check(
        first: str,
        second: str,
        *,
        history: str = "",
        lost: Mapping[int, str] | None = None,
    ) -> list[str]:
        """Return what is wrong if the members heard messages with ids of one letter each."""
        fleet = ScriptedFleet({0: first, 1: second}, lost or {})
        target = ScriptedTarget("127.0.0.1", 8080, ids=list(history) or None)
        specs = [MemberSpec(number, "room", records=True) for number in (0, 1)]
        return check(fleet, target, specs, {0: "1", 1: "2"}, {"room": 2})

    @pytest.mark.parametrize("history", ["", "1234", "12345"])
    def test_members_that_heard_everything_pass(self, history: str) -> None:
        assert self.check("1234", "234", history=history) == []

    @pytest.mark.parametrize(
        ("first", "second", "wrong"),
        [
            ("123", "23", "heard the wrong number of messages, for example 3 instead of 4"),
            ("1234", "23", "heard the wrong number of messages, for example 2 instead of 3"),
            ("1233", "233", "member 0 heard a message twice"),
            ("1234", "243", "member 1 heard messages in another order"),
            ("1345", "245", "member 1 heard a message that member 0 did not"),
        ],
    )
    def test_lost_repeated_and_reordered_messages_are_found(
        self, first: str, second: str, wrong: str
    ) -> None:
        assert any(wrong in complaint for complaint in self.check(first, second))

    def test_a_history_unlike_what_members_heard_is_found(self) -> None:
        assert self.check("1234", "234", history="1243") == ["the history has another order"]
        assert self.check("1234", "234", history="123") == ["the history has other messages"]

    @pytest.mark.parametrize("number", [0, 1])
    def test_a_lost_connection_is_found(self, number: int) -> None:
        lost = {number: f"member {number}: closed: 1013 slow"}
        wrong = self.check("1234", "234", lost=lost)
        assert wrong == [
            f"1 of the members lost the connection; member {number}: closed: 1013 slow"
        ]

    def test_a_client_process_reports_a_connection_that_the_server_closed(self) -> None:
        joined = b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + frame(TEXT, b'{"id":"1"}')
        with (
            serving(joined) as port,
            Fleet(Target("127.0.0.1", port), 1, text_bytes=16) as fleet,
        ):
            assert fleet.connect([MemberSpec(0, "room")], timeout=20) == {0: "1"}
            [reply] = fleet.drain({0: 2}, timeout=20)
        assert reply.closed == {0: "member 0: the server closed the connection"}
        assert reply.miscounted == {}


class TestFigures:
    def test_percentiles_are_in_milliseconds(self) -> None:
        result = Result("one-to-many")
        result.add_latencies([n / 1000 for n in range(100, 0, -1)])
        assert result.figures == {"p50": pytest.approx(51), "p99": pytest.approx(100)}

    def test_medians_keep_each_failed_check_once(self) -> None:
        runs = [Result("rooms", {"joins/s": n}, ["lost"]) for n in (1.0, 9.0, 2.0)]
        assert medians(runs) == Result("rooms", {"joins/s": 2.0}, ["lost"])

    def test_a_ratio_is_greater_than_one_if_ours_is_better(self) -> None:
        assert ratio(300, 100, "deliveries/s") == 3
        assert ratio(1, 3, "p50") == 3
        assert ratio(1, 0, "joins/s") == float("inf")

    def test_the_table_and_the_json_show_the_same_figures(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ours = Result("rooms", {"messages/s": 6000.0, "p50": 1.5})
        theirs = Result("rooms", {"messages/s": 2000.0, "p50": 4.5}, ["lost"])
        show([(ours, theirs)])
        shown = capsys.readouterr().out
        assert "6,000" in shown
        assert shown.count("3.00x") == 2
        assert "WRONG on against, rooms: lost" in shown
        assert json.loads(as_json([(ours, None)]))[0]["server"]["figures"]["p50"] == 1.5


class TestRefusals:
    def test_another_machine_is_refused_unless_the_user_owns_it(self) -> None:
        with pytest.raises(RemoteTargetError):
            Target.parse("http://192.0.2.1:8080")
        assert Target.parse("http://192.0.2.1:8080", may_be_remote=True).port == 8080
        assert Target.parse("localhost:8080") == Target("127.0.0.1", 8080)
        assert Target.parse("https://localhost") == Target("127.0.0.1", 443, secure=True)

    @pytest.mark.parametrize("url", ["ftp://localhost", "http://"])
    def test_anything_but_an_http_url_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="is not a URL"):
            Target.parse(url)

    def test_the_command_prints_the_refusal_in_one_line(self) -> None:
        answer = CliRunner().invoke(bench, ["http://192.0.2.1"])
        assert answer.exit_code == 1
        assert "--i-own-this-server" in answer.output

    def test_a_window_larger_than_the_send_buffer_is_refused(self) -> None:
        with pytest.raises(ValueError, match="window"):
            Parameters(window=64, text_bytes=MAX_IN_FLIGHT_BYTES)
        answer = CliRunner().invoke(bench, ["localhost", "--window", "64", "--text-bytes", "1000"])
        assert answer.exit_code == 2
        assert "window" in answer.output

    def test_a_server_that_refuses_to_create_a_room_is_reported(self) -> None:
        with serving(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n") as port:
            answer = CliRunner().invoke(bench, [f"http://127.0.0.1:{port}"])
        assert answer.exit_code == 1
        assert "cannot create a room: 429 Too Many Requests" in answer.output

    def test_an_unreachable_server_is_reported(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        answer = CliRunner().invoke(bench, [f"http://127.0.0.1:{port}", "--seconds", "0.1"])
        assert answer.exit_code == 1
        assert "refused" in answer.output
        with (
            Fleet(Target("127.0.0.1", port), 1, text_bytes=16) as fleet,
            pytest.raises(FleetError, match="could not join"),
        ):
            fleet.connect([MemberSpec(0, "room")], timeout=1)


def test_a_workload_takes_a_number_of_members() -> None:
    assert catalogue.make("one-to-many", 7) == OneToMany(7)
    assert catalogue.make("rooms", 70) == Rooms(rooms=7)
    assert {catalogue.make(name).name for name in catalogue.WORKLOADS} == set(catalogue.WORKLOADS)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux only")
def test_the_processes_that_listen_on_a_port_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert os.getpid() in pids_listening_on(port)
        assert resident_bytes({os.getpid()}) > 1_000_000
    with pytest.raises(UnknownServerError):
        pids_listening_on(port)


class TestCommand:
    @pytest.mark.parametrize("arguments", [[], ["serve", "--help"]])
    def test_a_server_does_not_import_the_load_generator(self, arguments: Sequence[str]) -> None:
        assert self.imported_by(arguments) == []

    def test_the_command_is_imported_when_it_is_called(self) -> None:
        assert "sharechat.bench.command" in self.imported_by(["bench", "--help"])

    @staticmethod
    def imported_by(arguments: Sequence[str]) -> list[str]:
        """Return the load generator's modules that `sharechat` with these arguments imports.

        Without arguments the command is imported but not run. This takes a process of its
        own, since this one has already imported the load generator.
        """
        script = (
            "import sys, contextlib, io\n"
            "from sharechat.cli import cli\n"
            "with contextlib.redirect_stdout(io.StringIO()):\n"
            "    if sys.argv[1:]: cli.main(sys.argv[1:], standalone_mode=False)\n"
            "print(*(name for name in sys.modules if name.startswith('sharechat.bench')))\n"
        )
        command = [sys.executable, "-c", script, *arguments]
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return shown.stdout.split()
