"""The two kinds of pub/sub that Redis has."""

from typing import NamedTuple


class PubSub(NamedTuple):
    """The words of one kind of pub/sub."""

    subscribe: bytes
    unsubscribe: bytes
    publish: bytes
    message: bytes
    """What a message begins with."""
    ended: bytes | None
    """What a node says that gives the slot of a channel away. It answers `unsubscribe` alike."""
    channels_per_command: int
    """Few enough for Redis to serve other clients between two commands."""


CLASSIC = PubSub(b"SUBSCRIBE", b"UNSUBSCRIBE", b"PUBLISH", b"message", None, 1_000)
"""Every node of a cluster gets every message."""

# The channels of a command have to be in one slot, so each has a command of its own.
SHARDED = PubSub(b"SSUBSCRIBE", b"SUNSUBSCRIBE", b"SPUBLISH", b"smessage", b"sunsubscribe", 1)
"""Only the nodes that serve a channel's slot get its messages. Since Redis 7."""
