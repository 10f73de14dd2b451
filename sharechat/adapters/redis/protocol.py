"""The Redis protocol without any I/O: commands to bytes, bytes to replies."""

from collections.abc import Callable
from typing import Any, cast

import hiredis

pack = cast(Callable[[tuple[bytes, ...]], bytes], hiredis.pack_command)
"""Encode one command, given as its words, as the bytes to send to Redis."""


class ConnectionFailedError(Exception):
    """A connection to Redis could not be made, or can no longer be used. The text says why."""


class ReplyParser:
    """Turns the bytes received on one connection into replies."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()

    def feed(self, data: bytes) -> list[Any]:
        """Return the replies that `data` completes.

        A reply is bytes, int, None, a list of these, or a hiredis.ReplyError if Redis reports
        an error. Raises ConnectionFailedError if `data` is not the Redis protocol.
        """
        replies: list[Any] = []
        gets = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not False:
                replies.append(reply)
        except hiredis.ProtocolError as error:
            raise ConnectionFailedError(f"the server is not Redis: {error}") from error
        return replies


def parse_moved(reply: object) -> int | None:
    """Return which slot another node of the cluster serves, if that is what the reply says.

    See "MOVED Redirection" in the Redis Cluster specification.
    """
    words = str(reply).split() if isinstance(reply, hiredis.ReplyError) else []
    return int(words[1]) if words[:1] == ["MOVED"] else None
