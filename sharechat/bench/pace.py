"""Talking at a given rate."""

import random
from collections.abc import Callable, Sequence
from itertools import cycle
from time import monotonic

from sharechat.bench.commands import MAX_IN_FLIGHT_BYTES
from sharechat.bench.member import Member

TICK = 0.001
"""Seconds between two looks at what is due."""


class Pace:
    """Lets the talkers send in turn, at random times, `rate` messages a second together.

    When a message is sent does not depend on whether earlier ones have come back, as it does not
    with people: a server that stalls finds all the more to do. Only a talker with as much in
    flight as its socket's buffer is sure to take is passed over.
    """

    def __init__(
        self,
        talkers: Sequence[Member],
        rate: float,
        start: float,
        send: Callable[[Member], None],
    ) -> None:
        """Begin at `start`, in seconds of the monotonic clock. There must be a talker."""
        self._talkers = cycle(talkers)
        self._rate = rate
        self._next = start
        self._send = send
        self.held = 0
        """How many messages were not sent, since too much was in flight."""
        self.late = 0.0
        """By how many seconds sending was behind at worst."""

    def send_due(self) -> bool:
        """Send what is due by now. Returns False: there is always more to come."""
        now = monotonic()
        self.late = max(self.late, now - self._next)
        while self._next <= now:
            self._next += random.expovariate(self._rate)
            talker = next(self._talkers)
            if (len(talker.sent_at) + 1) * len(talker.frame) > MAX_IN_FLIGHT_BYTES:
                self.held += 1
            else:
                self._send(talker)
        return False
