"""A client process: it holds its share of the members and carries out the parent's commands.

One loop over epoll. It also reads while it waits for a command, so that the server need not
buffer anything meanwhile. Started as `python -m sharechat.bench.worker <file descriptor>`.
"""

import gc
import json
import select
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import monotonic

from sharechat.bench.commands import Connect, Connected, Drain, Drained, Talk, Talked
from sharechat.bench.member import ClosedError, Member
from sharechat.bench.wire import message_payloads, trusting_context

_MAX_EVENTS = 128
"""Events per poll."""
_TICK = 0.05
"""Seconds between two checks of whether to stop polling."""


class Worker:
    """The members of this process, by the file descriptor of their sockets."""

    def __init__(self, parent: Connection) -> None:
        """Take commands from `parent`, and send the replies back to it."""
        self._parent = parent
        self._epoll = select.epoll()
        self._epoll.register(parent.fileno(), select.EPOLLIN)
        self._members: dict[int, Member] = {}
        self._joining: dict[int, Member] = {}
        """The members that have not heard anything yet."""
        self._address = ("", 0)
        self._failures: dict[int, str] = {}
        """By member number, why a connection was lost or refused."""
        self._closed: dict[int, float] = {}
        """By member number, when a connection was closed during the present Talk."""
        self._latencies: list[float] = []
        self._window = 0
        """Messages that each talker keeps in flight; 0 while nobody may send."""
        self._quota: int | None = None

    def run(self) -> None:
        """Carry out commands until the parent closes the pipe."""
        while True:
            self._poll_until(self._parent.poll)
            try:
                command = self._parent.recv()
            except EOFError:
                return
            if isinstance(command, Connect):
                self._parent.send(self._connect(command))
            elif isinstance(command, Talk):
                self._parent.send(self._talk(command))
            elif isinstance(command, Drain):
                self._parent.send(self._drain(command))

    def _poll_until(self, done: Callable[[], bool], deadline: float = float("inf")) -> None:
        """Serve the sockets until `done()`, or until `deadline` (monotonic seconds)."""
        poll, members = self._epoll.poll, self._members
        while not done() and (left := deadline - monotonic()) > 0:
            for fd, _ in poll(min(left, _TICK), _MAX_EVENTS):
                if member := members.get(fd):
                    try:
                        self._handle(member, fd)
                    except ClosedError as error:
                        self._drop(member, fd, str(error))

    def _poll_for(self, deadline: float) -> None:
        self._poll_until(lambda: False, deadline)

    def _handle(self, member: Member, fd: int) -> None:
        if not member.has_asked:
            self._epoll.modify(fd, member.go_on_connecting(self._address))
            return
        if not member.spec.reads and member.first_id is not None:
            # Errors and hang-ups are all that epoll still reports for this socket.
            raise ClosedError("the server reset the connection")
        latencies = member.read()
        if fd in self._joining and member.first_id is not None:
            del self._joining[fd]
            if not member.spec.reads:
                self._epoll.modify(fd, 0)
        if latencies:
            self._latencies += latencies
            for _ in latencies:
                if self._window and (self._quota is None or member.sent < self._quota):
                    member.send()

    def _drop(self, member: Member, fd: int, why: str) -> None:
        self._failures[member.spec.number] = f"member {member.spec.number}: {why}"
        self._closed[member.spec.number] = monotonic()
        self._joining.pop(fd, None)
        self._epoll.unregister(fd)
        member.close()
        del self._members[fd]

    def _connect(self, command: Connect) -> Connected:
        self._address = command.address
        context = trusting_context() if command.secure else None
        deadline = monotonic() + command.timeout
        specs = iter(command.specs)
        new: list[Member] = []
        failed_before = len(self._failures)

        def connect_more() -> bool:
            while len(self._joining) < command.concurrency and (spec := next(specs, None)):
                member = Member(spec, command.text_bytes, context)
                fd = member.sock.fileno()
                self._members[fd] = self._joining[fd] = member
                new.append(member)
                member.connect(command.address)
                self._epoll.register(fd, select.EPOLLOUT)
            return not self._joining

        self._poll_until(connect_more, deadline)
        failures = list(self._failures.values())[failed_before:]
        failures += [f"member {m.spec.number}: never joined" for m in self._joining.values()]
        ids = {m.spec.number: m.first_id for m in new if m.first_id is not None}
        return Connected(ids, failures)

    def _talk(self, command: Talk) -> Talked:
        talkers = [member for member in self._members.values() if member.spec.talks]
        self._quota = command.quota
        self._closed.clear()
        self._poll_for(command.start)
        self._window = command.window
        for member in talkers:
            for _ in range(command.window):
                member.send()
        self._poll_for(command.measure_from)
        self._latencies = []
        heard_before, began = self._heard(), monotonic()

        def quota_is_met() -> bool:
            return self._quota is not None and all(
                m.sent >= self._quota and not m.sent_at for m in talkers
            )

        self._poll_until(quota_is_met, command.until)
        heard, ended = self._heard() - heard_before, monotonic()
        latencies, self._latencies = self._latencies, []
        self._window = 0
        self._poll_until(lambda: not any(m.sent_at for m in talkers), ended + command.grace)
        sent: dict[str, int] = {}
        for member in talkers:
            sent[member.spec.room] = sent.get(member.spec.room, 0) + member.sent
        unanswered = sum(len(member.sent_at) for member in talkers)
        return Talked(heard, ended - began, latencies, sent, unanswered, dict(self._closed))

    def _heard(self) -> int:
        return sum(member.heard for member in self._members.values())

    def _drain(self, command: Drain) -> Drained:
        members = [m for m in self._members.values() if m.spec.number in command.expected]

        def done() -> bool:
            return all(
                m.heard >= command.expected[m.spec.number] or m.spec.number in self._failures
                for m in members
            )

        self._poll_until(done, monotonic() + command.timeout)
        heard = {m.spec.number: m.heard for m in members}
        lost = command.expected.keys() & self._failures.keys()
        return Drained(
            max((m.last_heard_at for m in members), default=0.0),
            {
                number: (heard[number], expected)
                for number, expected in command.expected.items()
                if number not in lost and heard[number] != expected
            },
            {m.spec.number: _ids(m.recorded) for m in members if m.recorded is not None},
            {number: self._failures[number] for number in sorted(lost)},
        )


def _ids(recorded: list[bytes]) -> list[str]:
    return [json.loads(payload)["id"] for data in recorded for payload in message_payloads(data)]


if __name__ == "__main__":
    gc.disable()  # Reference counts free all that matters; collections would pause the clients.
    Worker(Connection(int(sys.argv[1]))).run()
