"""All client processes together, as the parent sees them."""

import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self, TypeVar

from sharechat.bench.commands import (
    Connect,
    Connected,
    Drain,
    Drained,
    MemberSpec,
    Talk,
    Talked,
)
from sharechat.bench.target import Target

Reply = TypeVar("Reply")

_GRACE = 30
"""Seconds past a command's own timeout after which a client process counts as stuck."""


class FleetError(RuntimeError):
    """The members could not carry out a command, so the figures would be meaningless."""


class Fleet:
    """A number of client processes, for one run.

    A context manager: leaving it closes all connections and ends all processes. Each method
    blocks, and raises FleetError if a client process dies or is stuck.
    """

    def __init__(self, target: Target, processes: int, *, text_bytes: int) -> None:
        """Start `processes` client processes; their messages are `text_bytes` long."""
        self._target = target
        self._text_bytes = text_bytes
        self._workers = [_Worker() for _ in range(processes)]
        self._worker_of: dict[int, int] = {}
        """By member number, the index of the process that holds the member."""

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
        self, specs: Sequence[MemberSpec], *, concurrency: int = 64, timeout: float = 60
    ) -> dict[int, str]:
        """Connect the members, spread evenly over the processes.

        Returns, by member number, the id of the first message that each one heard, its own
        `joined`. At most about `concurrency` of them are joining at any one time. Raises
        FleetError unless all have joined within `timeout` seconds.
        """
        count = len(self._workers)
        shares: list[list[MemberSpec]] = [[] for _ in range(count)]
        for spec in specs:
            worker = spec.number % count
            self._worker_of[spec.number] = worker
            shares[worker].append(spec)
        per_worker = max(1, concurrency // count)
        commands = [
            Connect(
                self._target.address,
                share,
                per_worker,
                self._text_bytes,
                timeout,
                self._target.secure,
            )
            for share in shares
        ]
        replies = self._ask(commands, Connected, timeout)
        if failures := [failure for reply in replies for failure in reply.failures]:
            raise FleetError(f"{len(failures)} of the members could not join; {failures[0]}")
        return {number: id_ for reply in replies for number, id_ in reply.first_ids.items()}

    def talk(self, command: Talk) -> list[Talked]:
        """Let the talkers talk; return each process's reply.

        Raises FleetError if any message did not come back to its sender.
        """
        timeout = command.until - command.start + command.grace
        replies = self._ask([command] * len(self._workers), Talked, timeout)
        if unanswered := sum(reply.unanswered for reply in replies):
            raise FleetError(f"{unanswered} of the messages never came back to the sender")
        return replies

    def drain(self, expected: dict[int, int], *, timeout: float = 20) -> list[Drained]:
        """Read until each member has heard as many messages as `expected` gives by number.

        Returns each process's reply, after at most `timeout` seconds.
        """
        commands = [
            Drain({n: count for n, count in expected.items() if self._worker_of[n] == w}, timeout)
            for w in range(len(self._workers))
        ]
        return self._ask(commands, Drained, timeout)

    def _ask(self, commands: Iterable[object], kind: type[Reply], timeout: float) -> list[Reply]:
        for worker, command in zip(self._workers, commands, strict=True):
            worker.pipe.send(command)
        replies = []
        for worker in self._workers:
            if not worker.pipe.poll(timeout + _GRACE):
                raise FleetError("a client process is stuck")
            try:
                reply = worker.pipe.recv()
            except EOFError:
                raise FleetError("a client process died; see its error output above") from None
            assert isinstance(reply, kind)
            replies.append(reply)
        return replies


class _Worker:
    """A client process and the pipe to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - runs a module of this package
                [sys.executable, "-m", "sharechat.bench.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        self.pipe: Connection = Connection(ours.detach())

    def end(self) -> None:
        self.pipe.close()  # The process exits at the end of the stream.
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
