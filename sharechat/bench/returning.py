"""Who comes back when, as the client library does it."""

import heapq
import random
from collections import Counter
from time import monotonic

from sharechat.bench.commands import CameBack, ComeBack
from sharechat.bench.member import ClosedError, Member
from sharechat.bench.sockets import Sockets
from sharechat.client.errors import closed, refused
from sharechat.client.room import FIRST_PAUSE, LONGEST_PAUSE, WELCOME_TIMEOUT
from sharechat.client.websocket import CONNECT_TIMEOUT

_TICK = 0.01
"""Seconds between two looks at who tries again."""
_CHECK = 0.5
"""Seconds between two looks at who has waited too long for an answer."""


class Returning:
    """The members that have no connection, and when each tries again."""

    def __init__(self, members: list[Member], now: float) -> None:
        """Let all of these members come back at the time `now`; times are in seconds."""
        self._due = [(now, member.spec.number, member) for member in members]
        heapq.heapify(self._due)
        self._failed: Counter[int] = Counter()
        """By number, attempts in a row that have failed."""
        self.refusals: Counter[str] = Counter()
        """How many attempts have failed, by reason."""

    @property
    def waiting(self) -> bool:
        """Whether somebody will try again."""
        return bool(self._due)

    def take_due(self, now: float) -> Member | None:
        """Return a member that tries again by now, if there is one."""
        if self._due and self._due[0][0] <= now:
            return heapq.heappop(self._due)[2]
        return None

    def lost(self, member: Member, error: ClosedError, now: float) -> None:
        """Decide when a member tries again whose attempt has failed, or that was in the room."""
        number = member.spec.number
        self.refusals[_reason(error)] += 1
        if not _makes_sense_to_retry(error):
            return
        self._failed[number] = 0 if member.joined_at is not None else self._failed[number] + 1
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._failed[number], 16))
        heapq.heappush(self._due, (now + random.uniform(0, longest), number, member))  # noqa: S311


def come_back(sockets: Sockets, command: ComeBack) -> CameBack:
    """Drop all connections, and let everyone come back."""
    everyone = sockets.drop_all()
    returning = Returning(everyone, command.start)
    next_check = command.start
    sockets.poll_for(command.start)

    def go_on() -> bool:
        nonlocal next_check
        now = monotonic()
        if now >= next_check:
            next_check = now + _CHECK
            for member in list(sockets.joining.values()):
                if _lacks_patience(member, now):
                    sockets.drop(member, ClosedError("the server does not answer"))
        while sockets.lost:
            member, error = sockets.lost.pop()
            returning.lost(member, error, now)
        while due := returning.take_due(now):
            sockets.connect(due)
        return not sockets.joining and not returning.waiting

    sockets.poll_until(go_on, command.start + command.timeout, tick=_TICK)
    for member in list(sockets.joining.values()):
        sockets.drop(member, ClosedError("not back in time"))
    for member in sockets.members.values():
        sockets.failures.pop(member.spec.number, None)
    joined_at = [m.joined_at for m in sockets.members.values() if m.joined_at is not None]
    return CameBack(joined_at, returning.refusals, list(sockets.failures.values()))


def _lacks_patience(member: Member, now: float) -> bool:
    """Return whether a client would no longer wait for the server's answer to its attempt."""
    patience = CONNECT_TIMEOUT + (WELCOME_TIMEOUT if member.is_open else 0)
    return now > member.began + patience


def _makes_sense_to_retry(error: ClosedError) -> bool:
    if error.status:
        return refused(error.status, "").retry
    return not error.code or closed(error.code, "").retry


def _reason(error: ClosedError) -> str:
    if error.status:
        return f"status {error.status}"
    return f"close {error.code}" if error.code else str(error)
