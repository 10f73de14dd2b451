"""A client process: it holds its share of the members and carries out the parent's commands.

It also reads while it waits for a command, so that the server need not buffer anything meanwhile.
Started as `python -m sharechat.bench.worker <file descriptor>`.
"""

import gc
import json
import resource
import sys
from collections import Counter
from multiprocessing.connection import Connection
from time import monotonic

from sharechat.bench.commands import (
    CameBack,
    ComeBack,
    Connect,
    Connected,
    Drain,
    Drained,
    Mark,
    Marked,
    Talk,
    Talked,
)
from sharechat.bench.delays import Delays
from sharechat.bench.digesting import DigestingMember
from sharechat.bench.member import ClosedError, Member
from sharechat.bench.pace import TICK, Pace
from sharechat.bench.sockets import Sockets
from sharechat.bench.wire import message_payloads, trusting_context


class Worker:
    """Carries out commands with the members of this process."""

    def __init__(self, parent: Connection) -> None:
        """Take commands from `parent`, and send the replies back to it."""
        self._parent = parent
        self._sockets = Sockets(parent.fileno(), self._answered)
        self._latencies: list[float] = []
        self._delays: Delays = Counter()
        self._window = 0
        """Messages that each talker keeps in flight; 0 while none is sent for one that is back."""
        self._quota: int | None = None

    def run(self) -> None:
        """Carry out commands until the parent closes the pipe."""
        while True:
            self._sockets.poll_until(self._parent.poll)
            try:
                command = self._parent.recv()
            except EOFError:
                return
            match command:
                case Connect():
                    self._parent.send(self._connect(command))
                case Talk():
                    self._parent.send(self._talk(command))
                case Drain():
                    self._parent.send(self._drain(command))
                case Mark():
                    self._parent.send(self._mark())
                case ComeBack():
                    self._parent.send(self._come_back(command))

    def _answered(self, member: Member, latencies: list[float]) -> None:
        self._latencies += latencies
        for _ in latencies:
            if self._window and (self._quota is None or member.sent < self._quota):
                member.send()

    def _send(self, member: Member) -> None:
        if member.is_open:
            try:
                member.send()
            except ClosedError as error:
                self._sockets.drop(member, error)

    def _connect(self, command: Connect) -> Connected:
        sockets = self._sockets
        sockets.address, sockets.sources = command.address, command.sources
        context = trusting_context() if command.secure else None
        deadline = monotonic() + command.timeout
        specs = iter(command.specs)
        new: list[Member] = []
        failed_before = len(sockets.failures)

        def connect_more() -> bool:
            while len(sockets.joining) < command.concurrency and (spec := next(specs, None)):
                if spec.digests:
                    new.append(DigestingMember(spec, command.text_bytes, context, self._delays))
                else:
                    new.append(Member(spec, command.text_bytes, context))
                sockets.connect(new[-1])
            return not sockets.joining

        sockets.poll_until(connect_more, deadline)
        failures = list(sockets.failures.values())[failed_before:]
        failures += [f"member {m.spec.number}: never joined" for m in sockets.joining.values()]
        failures += [f"member {spec.number}: there was no time to join" for spec in specs]
        ids = {m.spec.number: m.first_id for m in new if m.first_id is not None}
        return Connected(ids, failures)

    def _talk(self, command: Talk) -> Talked:
        talkers = [member for member in self._sockets.members.values() if member.spec.talks]
        self._quota = command.quota
        self._sockets.closed.clear()
        self._sockets.poll_for(command.start)
        pace = None
        if command.rate is None:
            self._window = command.window
            for member in talkers:
                for _ in range(command.window):
                    self._send(member)
        elif talkers:
            pace = Pace(talkers, command.rate, command.start, self._send)
        self._talk_until(command.measure_from, pace)
        self._latencies = []
        self._delays.clear()
        heard_before, began = self._heard(), monotonic()
        self._talk_until(command.until, pace, talkers)
        heard, ended = self._heard() - heard_before, monotonic()
        latencies, self._latencies = self._latencies, []
        delays = self._delays.copy()
        self._window = 0
        self._sockets.poll_until(
            lambda: not any(m.sent_at for m in talkers if m.is_open), ended + command.grace
        )
        sent: dict[str, int] = {}
        for member in talkers:
            sent[member.spec.room] = sent.get(member.spec.room, 0) + member.sent
        return Talked(
            heard,
            ended - began,
            latencies,
            sent,
            sum(len(member.sent_at) for member in talkers),
            dict(self._sockets.closed),
            delays,
            pace.held if pace else 0,
            pace.late if pace else 0.0,
        )

    def _talk_until(
        self, deadline: float, pace: Pace | None, with_quota: list[Member] | None = None
    ) -> None:
        """Talk until `deadline`, or until all messages of `with_quota` are back."""

        def quota_is_met() -> bool:
            quota = self._quota
            return (
                quota is not None
                and with_quota is not None
                and all(m.sent >= quota and not m.sent_at for m in with_quota)
            )

        if pace is None:
            self._sockets.poll_until(quota_is_met, deadline)
        else:
            self._sockets.poll_until(pace.send_due, deadline, tick=TICK)

    def _heard(self) -> int:
        return sum(member.heard for member in self._sockets.members.values())

    def _drain(self, command: Drain) -> Drained:
        expected, failures = command.expected, self._sockets.failures
        members = [m for m in self._sockets.members.values() if m.spec.number in expected]
        missing = list(members)

        def done() -> bool:
            while missing and (
                missing[-1].heard >= expected[missing[-1].spec.number]
                or missing[-1].spec.number in failures
            ):
                missing.pop()
            return not missing

        self._sockets.poll_until(done, monotonic() + command.timeout)
        heard = {m.spec.number: m.heard for m in members}
        lost = expected.keys() & failures.keys()
        digesting = [m for m in members if isinstance(m, DigestingMember)]
        return Drained(
            max((m.last_heard_at for m in members), default=0.0),
            {
                number: (heard[number], count)
                for number, count in expected.items()
                if number not in lost and heard[number] != count
            },
            {m.spec.number: _ids(m.recorded) for m in members if m.recorded is not None},
            {number: failures[number] for number in sorted(lost)},
            {m.spec.number: m.digest for m in digesting},
            [m.spec.number for m in digesting if m.misheard],
        )

    def _mark(self) -> Marked:
        for member in self._sockets.members.values():
            if isinstance(member, DigestingMember):
                member.mark()
        return Marked()

    def _come_back(self, command: ComeBack) -> CameBack:
        # It imports the client library, which the other workloads do without.
        from sharechat.bench.returning import come_back

        return come_back(self._sockets, command)


def _ids(recorded: list[bytes]) -> list[str]:
    return [json.loads(payload)["id"] for data in recorded for payload in message_payloads(data)]


if __name__ == "__main__":
    gc.disable()  # Reference counts free all that matters; collections would pause the clients.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    Worker(Connection(int(sys.argv[1]))).run()
