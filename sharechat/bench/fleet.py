"""All client processes together, as the parent sees them."""

import ipaddress
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self, TypeVar

from sharechat.bench.commands import (
    CameBack,
    ComeBack,
    Connect,
    Connected,
    Drain,
    Drained,
    Mark,
    Marked,
    MemberSpec,
    Talk,
    Talked,
)
from sharechat.bench.target import Target

Reply = TypeVar("Reply")

_GRACE = 30
"""Seconds past a command's own timeout after which a client process counts as stuck."""
_PER_SOURCE = 5_000
"""Members for each loopback address to connect from: one address has some 28,000 ports, and those
of connections that were closed stay taken for a minute."""
_OTHER_FILES = 32
"""What a client process may have open besides its members' sockets."""
_START_DELAY = 1.0
"""Seconds until members come back: the client processes get ready in that time."""
_MEANWHILE = 0.5
"""Seconds between two calls of what is done while waiting."""


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
        self._talkers = [0] * processes
        """How many talkers each process has."""

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
            self._talkers[worker] += spec.talks
            shares[worker].append(spec)
        self._check_limits()
        sources = self._sources()
        per_worker = max(1, concurrency // count)
        commands = [
            Connect(
                self._target.address,
                share,
                per_worker,
                self._text_bytes,
                timeout,
                self._target.secure,
                sources,
            )
            for share in shares
        ]
        replies = self._ask(commands, Connected, timeout)
        if failures := [failure for reply in replies for failure in reply.failures]:
            raise FleetError(f"{len(failures)} of the members could not join; {failures[0]}")
        return {number: id_ for reply in replies for number, id_ in reply.first_ids.items()}

    def talk(
        self,
        command: Talk,
        *,
        meanwhile: Callable[[], None] = lambda: None,
        may_lose: bool = False,
    ) -> list[Talked]:
        """Let the talkers talk; return each process's reply.

        `meanwhile` is called again and again until then. Raises FleetError if any message did not
        come back to its sender, unless it `may_lose` some.
        """
        timeout = command.until - command.start + command.grace
        total = sum(self._talkers)
        commands = [
            command
            if command.rate is None
            else replace(command, rate=command.rate * talkers / total)
            for talkers in self._talkers
        ]
        replies = self._ask(commands, Talked, timeout, meanwhile)
        unanswered = sum(reply.unanswered for reply in replies)
        if unanswered and not may_lose:
            raise FleetError(f"{unanswered} of the messages never came back to the sender")
        return replies

    def mark(self) -> None:
        """Let the members that digest begin to do so; nothing may be under way."""
        self._ask([Mark()] * len(self._workers), Marked, 0)

    def come_back(self, *, timeout: float) -> tuple[float, list[CameBack]]:
        """Let all members come back at once; return when they began to, and each process's reply.

        Connections that are still open are closed first. Whoever is not back within `timeout`
        seconds is given up. The beginning is in seconds of the monotonic clock.
        """
        start = time.monotonic() + _START_DELAY
        commands = [ComeBack(start, timeout)] * len(self._workers)
        return start, self._ask(commands, CameBack, timeout)

    def drain(self, expected: dict[int, int], *, timeout: float = 20) -> list[Drained]:
        """Read until each member has heard as many messages as `expected` gives by number.

        Returns each process's reply, after at most `timeout` seconds.
        """
        commands = [
            Drain({n: count for n, count in expected.items() if self._worker_of[n] == w}, timeout)
            for w in range(len(self._workers))
        ]
        return self._ask(commands, Drained, timeout)

    def _ask(
        self,
        commands: Iterable[object],
        kind: type[Reply],
        timeout: float,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[Reply]:
        for worker, command in zip(self._workers, commands, strict=True):
            worker.pipe.send(command)
        deadline = time.monotonic() + timeout + _GRACE
        replies = []
        for worker in self._workers:
            while not worker.pipe.poll(_MEANWHILE):
                if time.monotonic() > deadline:
                    raise FleetError("a client process is stuck")
                meanwhile()
            try:
                reply = worker.pipe.recv()
            except EOFError:
                raise FleetError("a client process died; see its error output above") from None
            assert isinstance(reply, kind)
            replies.append(reply)
        return replies

    def _check_limits(self) -> None:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        members = -(-len(self._worker_of) // len(self._workers))
        if most != resource.RLIM_INFINITY and members + _OTHER_FILES > most:
            raise FleetError(
                f"a process may have {most} open files, too few for {members} members: "
                f"it takes more client processes (--processes)"
            )

    def _sources(self) -> list[str]:
        """Return the addresses to connect from, if one may have too few ports."""
        count = -(-len(self._worker_of) // _PER_SOURCE)
        if count == 1 or not ipaddress.ip_address(self._target.host).is_loopback:
            return []
        return [str(ipaddress.IPv4Address("127.0.0.1") + number) for number in range(count)]


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
