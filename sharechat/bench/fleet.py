"""The client processes together, as the parent sees them."""

import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self, TypeVar

from sharechat.bench.plan import Connect, Connected, Seat, Settle, Settled, Talk, Talked
from sharechat.bench.target import Target

T = TypeVar("T")

_GRACE = 30
"""Seconds past its own deadline after which a client process counts as stuck."""


class FleetError(RuntimeError):
    """The members could not do what they were told: the figures would mean nothing."""


class Fleet:
    """`processes` of them, for one run; a context manager that ends them all."""

    def __init__(self, target: Target, processes: int, *, text_bytes: int) -> None:
        self._target = target
        self._text_bytes = text_bytes
        self._workers = [_Worker() for _ in range(processes)]
        self._home: dict[int, int] = {}
        """By the member's number, which process it is in."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.end()

    def connect(
        self, seats: Sequence[Seat], *, at_once: int = 64, seconds: float = 60
    ) -> dict[int, str]:
        """Let the seats be taken, spread over the processes; return each one's first id.

        Raises FleetError unless all have joined in so many seconds.
        """
        count = len(self._workers)
        shares: list[list[Seat]] = [[] for _ in range(count)]
        for seat in seats:
            home = seat.number % count
            self._home[seat.number] = home
            shares[home].append(seat)
        orders = [
            Connect(
                self._target.address, share, max(1, at_once // count), self._text_bytes, seconds
            )
            for share in shares
        ]
        answers = self._ask(orders, Connected, seconds)
        if failures := [failure for answer in answers for failure in answer.failures]:
            raise FleetError(f"{len(failures)} could not join; {failures[0]}")
        return {number: id_ for answer in answers for number, id_ in answer.first_ids.items()}

    def talk(self, order: Talk) -> list[Talked]:
        """Let the talkers talk; raises FleetError if one was never answered."""
        seconds = order.until - order.start + order.patience
        answers = self._ask([order] * len(self._workers), Talked, seconds)
        if unanswered := sum(answer.unanswered for answer in answers):
            raise FleetError(f"{unanswered} messages never came back to who sent them")
        return answers

    def settle(self, expected: dict[int, int], *, seconds: float = 20) -> list[Settled]:
        """Read until each of these members has heard so many messages; see Settled."""
        orders = [
            Settle({n: e for n, e in expected.items() if self._home[n] == home}, seconds)
            for home in range(len(self._workers))
        ]
        return self._ask(orders, Settled, seconds)

    def _ask(self, orders: Iterable[object], kind: type[T], seconds: float) -> list[T]:
        for worker, order in zip(self._workers, orders, strict=True):
            worker.pipe.send(order)
        answers = []
        for worker in self._workers:
            if not worker.pipe.poll(seconds + _GRACE):
                raise FleetError("a client process is stuck")
            try:
                answer = worker.pipe.recv()
            except EOFError:
                raise FleetError("a client process died; it said why above") from None
            assert isinstance(answer, kind)
            answers.append(answer)
        return answers


class _Worker:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - it is this very package
                [sys.executable, "-m", "sharechat.bench.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        self.pipe: Connection = Connection(ours.detach())

    def end(self) -> None:
        self.pipe.close()  # It ends when it sees that.
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
