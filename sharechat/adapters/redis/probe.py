"""The probe of a pair of connections: what has been confirmed on them so far."""

import secrets

import trio


class Probe:
    """Tracks the probe of one pair of connections, round by round.

    A round publishes a new `token` on the probe's channel through the publishing connection. It
    ends when the token has arrived on the subscribing connection and every command up to the
    probe has been answered: what was published before it is then known to be published.
    """

    def __init__(self) -> None:
        self.subscribed = trio.Event()
        """Set once Redis has confirmed the subscription to the probe's channel."""
        self._answered = 0
        self.start_round(0)

    def start_round(self, command: int) -> None:
        """Begin a round with a new token; a token of an earlier round no longer counts.

        `command` is the number of the command that will publish it, counted from 1.
        """
        self.token = secrets.token_bytes(8)
        self._command = command
        self._arrived = False
        self.returned = trio.Event()
        """Set once this round has ended."""

    def receive(self, token: bytes) -> None:
        """Take a token that arrived on the probe's channel."""
        if token == self.token:
            self._arrived = True
            self._check()

    def answer(self, count: int) -> None:
        """Record that Redis has answered the next `count` commands."""
        self._answered += count
        self._check()

    def _check(self) -> None:
        if self._arrived and self._answered >= self._command:
            self.returned.set()
