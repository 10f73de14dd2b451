"""A client process: it holds its share of the members and does what the parent says.

One loop over epoll; it reads while it waits for orders, so that no server has to keep
anything for it. Started as `python -m sharechat.bench.worker <file descriptor>`.
"""

import gc
import json
import select
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from time import monotonic

from sharechat.bench.member import ClosedError, Member
from sharechat.bench.plan import Connect, Connected, Settle, Settled, Talk, Talked
from sharechat.bench.wire import payloads

_AT_ONCE = 128
_TICK = 0.05


class Worker:
    def __init__(self, parent: Connection) -> None:
        self._parent = parent
        self._epoll = select.epoll()
        self._epoll.register(parent.fileno(), select.EPOLLIN)
        self._members: dict[int, Member] = {}
        """By the socket's file descriptor."""
        self._address = ("", 0)
        self._waiting: dict[int, Member] = {}
        """Those that have not heard anything yet, by file descriptor."""
        self._failures: list[str] = []
        self._closed: dict[int, float] = {}
        self._latencies: list[float] = []
        self._window = 0
        self._quota: int | None = None

    def run(self) -> None:
        while True:
            self._pump(self._parent.poll)
            try:
                order = self._parent.recv()
            except EOFError:
                return
            if isinstance(order, Connect):
                self._parent.send(self._connect(order))
            elif isinstance(order, Talk):
                self._parent.send(self._talk(order))
            elif isinstance(order, Settle):
                self._parent.send(self._settle(order))

    def _pump(self, done: Callable[[], bool], until: float = float("inf")) -> None:
        """Read what comes until `done()` or the time `until`."""
        poll, members = self._epoll.poll, self._members
        while not done() and (left := until - monotonic()) > 0:
            for fd, event in poll(min(left, _TICK), _AT_ONCE):
                if member := members.get(fd):
                    try:
                        self._serve(member, fd, event)
                    except ClosedError as error:
                        self._drop(member, fd, str(error))

    def _serve(self, member: Member, fd: int, event: int) -> None:
        if event & select.EPOLLOUT:
            member.shake_hands(self._address)
            self._epoll.modify(fd, select.EPOLLIN)
            return
        if not member.seat.reads and member.first_id is not None:
            raise ClosedError("reset")  # Nothing else is reported for it.
        took = member.read()
        if fd in self._waiting and member.first_id is not None:
            del self._waiting[fd]
            if not member.seat.reads:
                self._epoll.modify(fd, 0)
        if took:
            self._latencies += took
            for _ in took:
                if self._window and (self._quota is None or member.sent < self._quota):
                    member.talk()

    def _drop(self, member: Member, fd: int, why: str) -> None:
        self._failures.append(f"member {member.seat.number}: {why}")
        self._closed[member.seat.number] = monotonic()
        self._waiting.pop(fd, None)
        self._epoll.unregister(fd)
        member.close()
        del self._members[fd]

    def _connect(self, order: Connect) -> Connected:
        self._address = order.address
        until = monotonic() + order.seconds
        seats = iter(order.seats)
        new: list[Member] = []
        failed_before = len(self._failures)

        def begin() -> bool:
            while len(self._waiting) < order.at_once and (seat := next(seats, None)):
                member = Member(seat, order.text_bytes)
                fd = member.sock.fileno()
                self._members[fd] = self._waiting[fd] = member
                new.append(member)
                member.connect(order.address)
                self._epoll.register(fd, select.EPOLLOUT)
            return not self._waiting

        self._pump(begin, until)
        failures = self._failures[failed_before:]
        failures += [f"member {m.seat.number}: never joined" for m in self._waiting.values()]
        ids = {m.seat.number: m.first_id for m in new if m.first_id is not None}
        return Connected(ids, failures)

    def _talk(self, order: Talk) -> Talked:
        talkers = [member for member in self._members.values() if member.seat.talks]
        self._quota = None
        if order.quota is not None:
            self._quota = order.quota
        self._closed.clear()
        never: Callable[[], bool] = lambda: False  # noqa: E731 - a name for a constant
        self._pump(never, order.start)
        self._window = order.window
        for member in talkers:
            for _ in range(order.window):
                member.talk()
        self._pump(never, order.measure_from)
        self._latencies = []
        before, began = self._heard(), monotonic()

        def all_said() -> bool:
            return self._quota is not None and all(
                m.sent >= self._quota and not m.sent_at for m in talkers
            )

        self._pump(all_said, order.until)
        heard, ended = self._heard() - before, monotonic()
        latencies, self._latencies = self._latencies, []
        self._window = 0
        self._pump(lambda: not any(m.sent_at for m in talkers), ended + order.patience)
        sent: dict[str, int] = {}
        for member in talkers:
            sent[member.seat.room] = sent.get(member.seat.room, 0) + member.sent
        unanswered = sum(len(member.sent_at) for member in talkers)
        return Talked(heard, ended - began, latencies, sent, unanswered, dict(self._closed))

    def _heard(self) -> int:
        return sum(member.heard for member in self._members.values())

    def _settle(self, order: Settle) -> Settled:
        mine = [m for m in self._members.values() if m.seat.number in order.expected]

        def done() -> bool:
            return all(m.heard >= order.expected[m.seat.number] for m in mine)

        self._pump(done, monotonic() + order.seconds)
        there = {m.seat.number: m.heard for m in mine}
        return Settled(
            max((m.last_heard_at for m in mine), default=0.0),
            {
                number: (there[number], expected)
                for number, expected in order.expected.items()
                if number in there and there[number] != expected
            },
            {m.seat.number: _ids(m.kept) for m in mine if m.kept is not None},
            list(self._closed),
        )


def _ids(kept: list[bytes]) -> list[str]:
    return [json.loads(payload)["id"] for data in kept for payload in payloads(data)]


if __name__ == "__main__":
    gc.disable()  # What is made here lasts, or is freed by its count of references.
    Worker(Connection(int(sys.argv[1]))).run()
