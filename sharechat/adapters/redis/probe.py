"""The probe of a pair of connections: what has been confirmed on them so far."""

import secrets

import trio


class Probe:
    """Tracks the probe of one pair of connections, round by round.

    A round publishes a new `token` on the probe's channel through the publishing connection;
    it ends when the token arrives on the subscribing connection.
    """

    def __init__(self) -> None:
        self.subscribed = trio.Event()
        """Set once Redis has confirmed the subscription to the probe's channel."""
        self.start_round()

    def start_round(self) -> None:
        """Begin a round with a new token; a token of an earlier round no longer counts."""
        self.token = secrets.token_bytes(8)
        self.returned = trio.Event()
        """Set once this round's token has arrived."""

    def receive(self, token: bytes) -> None:
        """Take a token that arrived on the probe's channel."""
        if token == self.token:
            self.returned.set()
