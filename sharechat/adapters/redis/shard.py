"""A primary of a Redis Cluster, and the channels that it serves."""

import trio

from sharechat.adapters.redis.cluster import key_slot
from sharechat.adapters.redis.link import Link
from sharechat.adapters.redis.url import Endpoint
from sharechat.domain.ids import RoomId

ROOM_PREFIX = b"sharechat:0:room:"


class Shard:
    """A primary, the link to it, and what cancels the link."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.link: Link
        self.scope = trio.CancelScope()
        self.probe_slot = -1
        """The slot of the channel of the link's probe."""


def slot_of(room_id: RoomId) -> int:
    """Return the slot of a room's channel."""
    return key_slot(ROOM_PREFIX + room_id.encode())
