"""The wire, without any I/O: commands to bytes, bytes to replies."""

from collections.abc import Callable
from typing import Any, cast

import hiredis

pack = cast(Callable[[tuple[bytes, ...]], bytes], hiredis.pack_command)
"""Return a command, given as its words, as the bytes that Redis reads."""


class LostError(Exception):
    """A connection to Redis could not be made or is of no more use; the text says why."""


class Parser:
    """Takes the bytes of one connection and gives the replies that they make up."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()

    def feed(self, data: bytes) -> list[Any]:
        """Return the replies that `data` completes.

        A reply is bytes, int, None, a list of these, or, for an error that Redis reports, a
        hiredis.ReplyError. Raises LostError if this is not Redis' protocol at all.
        """
        replies: list[Any] = []
        gets = self._reader.gets
        try:
            self._reader.feed(data)
            while (reply := gets()) is not False:
                replies.append(reply)
        except hiredis.ProtocolError as error:
            raise LostError(f"what answers there is not Redis: {error}") from error
        return replies


def raise_refusals(replies: list[Any]) -> None:
    """Raise LostError if one of the replies to PUBLISH is an error."""
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            raise LostError(f"Redis refused to publish: {reply}")
