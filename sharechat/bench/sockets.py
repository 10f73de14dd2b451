"""The sockets of a client process, and the loop over epoll that serves them."""

import select
from collections.abc import Callable, Sequence
from time import monotonic

from sharechat.bench.member import ClosedError, Member

_MAX_EVENTS = 128
"""Events per poll."""
_TICK = 0.05
"""Seconds between two checks of whether to stop polling."""


class Sockets:
    """The members of this process, by the file descriptor of their sockets."""

    def __init__(self, parent_fd: int, answered: Callable[[Member, list[float]], None]) -> None:
        """Also wake for `parent_fd`. Call `answered` with the latencies of what came back."""
        self._epoll = select.epoll()
        self._epoll.register(parent_fd, select.EPOLLIN)
        self._answered = answered
        self.address = ("", 0)
        self.sources: Sequence[str] = ()
        """The addresses to connect from; the system's if empty."""
        self.members: dict[int, Member] = {}
        self.joining: dict[int, Member] = {}
        """The members that have not heard their `joined` yet."""
        self.failures: dict[int, str] = {}
        """By member number, why a connection was lost or refused."""
        self.closed: dict[int, float] = {}
        """By member number, when a connection was closed."""
        self.lost: list[tuple[Member, ClosedError]] = []
        """Everyone who lost a connection or was refused one."""

    def connect(self, member: Member) -> None:
        """Start to connect a member, which then is one of `joining`."""
        source = self.sources[member.spec.number % len(self.sources)] if self.sources else None
        member.connect(self.address, source)
        fd = member.sock.fileno()
        self.members[fd] = self.joining[fd] = member
        self._epoll.register(fd, select.EPOLLOUT)

    def poll_until(
        self, done: Callable[[], bool], deadline: float = float("inf"), *, tick: float = _TICK
    ) -> None:
        """Serve the sockets until `done()`, or until `deadline` (monotonic seconds).

        `done` is called at least every `tick` seconds.
        """
        poll, members = self._epoll.poll, self.members
        while not done() and (left := deadline - monotonic()) > 0:
            for fd, _ in poll(min(left, tick), _MAX_EVENTS):
                if member := members.get(fd):
                    try:
                        self._handle(member, fd)
                    except ClosedError as error:
                        self.drop(member, error)

    def poll_for(self, deadline: float) -> None:
        """Serve the sockets until `deadline`."""
        self.poll_until(lambda: False, deadline)

    def drop(self, member: Member, error: ClosedError) -> None:
        """Close a member's connection, and note why."""
        self.failures[member.spec.number] = f"member {member.spec.number}: {error}"
        self.closed[member.spec.number] = monotonic()
        self.lost.append((member, error))
        self._close(member)

    def drop_all(self) -> list[Member]:
        """Close all connections; return the members that have, or had, one."""
        everyone = [*self.members.values(), *(member for member, _ in self.lost)]
        for member in list(self.members.values()):
            self._close(member)
        self.failures.clear()
        self.closed.clear()
        self.lost.clear()
        return everyone

    def _handle(self, member: Member, fd: int) -> None:
        if not member.has_asked:
            self._epoll.modify(fd, member.go_on_connecting(self.address))
            return
        if not member.spec.reads and member.first_id is not None:
            # Errors and hang-ups are all that epoll still reports for this socket.
            raise ClosedError("the server reset the connection")
        latencies = member.read()
        if fd in self.joining and member.joined_at is not None:
            del self.joining[fd]
            if not member.spec.reads:
                self._epoll.modify(fd, 0)
        if latencies:
            self._answered(member, latencies)

    def _close(self, member: Member) -> None:
        fd = member.sock.fileno()
        self.joining.pop(fd, None)
        self._epoll.unregister(fd)
        member.close()
        del self.members[fd]
