"""A member that checks what it hears at little cost, and can come back."""

import re
import ssl
from time import monotonic_ns
from zlib import crc32

from sharechat.bench.commands import MemberSpec
from sharechat.bench.delays import Delays, bucket
from sharechat.bench.member import Member
from sharechat.bench.wire import TEXT, masked_frame

_ID = re.compile(rb'"id": ?"([^"]+)"')
"""The id of a message, in its JSON: elsewhere in it a quotation mark is escaped."""
_STAMP = re.compile(rb"@(\d+)@(\d+)@(\d+)@")
"""What a chat message begins with: its sender, its number from 0, and when it was sent."""
_MEMBER_ID = re.compile(rb"\r\nsharechat-member-id: *([^\r]+)", re.IGNORECASE)


def digest_of(ids: list[bytes], before: int = 0) -> int:
    """Return a digest of these ids in this order, after those that gave the digest `before`."""
    return crc32(b"".join(ids), before)


class DigestingMember(Member):
    """A member that keeps a digest of the ids of all messages, and measures every delivery.

    From `mark` on, members of a room that heard the same messages in the same order have the same
    count and the same digest, which is also that of the room's history. The numbers in the messages
    tell each talker that it heard all of its own, once and in order.
    """

    __slots__ = (
        "_delays",
        "_is_marked",
        "_member_id",
        "_returned",
        "_text_bytes",
        "digest",
        "last_id",
        "misheard",
    )

    def __init__(
        self,
        spec: MemberSpec,
        text_bytes: int,
        context: ssl.SSLContext | None,
        delays: Delays,
    ) -> None:
        """Prepare a member that adds each delivery to `delays`."""
        super().__init__(spec, text_bytes, context)
        self.digest = 0
        self.last_id: str | None = None
        """The id of the last message that it heard."""
        self.misheard = 0
        """How many of its own messages it heard out of turn."""
        self._delays = delays
        self._is_marked = False
        self._member_id = b""
        self._returned = 0
        self._text_bytes = text_bytes

    def mark(self) -> None:
        """Count and digest from here on, and stop recording."""
        self._is_marked = True
        self.heard = self.digest = 0
        self.recorded = None

    def send(self) -> None:
        stamp = b"@%d@%d@%d@" % (self.spec.number, self.sent, monotonic_ns() // 1000)
        self.frame = masked_frame(TEXT, stamp.ljust(self._text_bytes, b"."))
        super().send()

    def _path(self) -> str:
        path = super()._path()
        return path if self.last_id is None else f"{path}?after={self.last_id}"

    def _open(self, head: bytes) -> None:
        super()._open(head)
        found = _MEMBER_ID.search(head)
        self._member_id = found[1].strip() if found else b""

    def _look_for_joined(self, data: bytes, now: float) -> None:
        if self.first_id is None:
            super()._look_for_joined(data, now)
        # Who has come back hears first what it missed. A server that does not tell members who
        # they are cannot be asked for that.
        elif self._member_id in data:
            self.joined_at = now

    def _take(self, data: bytes, end: int, now: float) -> list[float]:
        if not self._is_marked:
            # A member that joins a large room hears thousands of others join it.
            start = data.rfind(b'"id"', 0, end)
            if start >= 0 and (found := _ID.match(data, start)):
                self.last_id = found[1].decode()
            return []
        ids = _ID.findall(data, 0, end)
        if ids:
            self.digest = digest_of(ids, self.digest)
            self.last_id = ids[-1].decode()
        microseconds = int(now * 1_000_000)
        own = []
        for sender, number, sent in _STAMP.findall(data, 0, end):
            self._delays[bucket(microseconds - int(sent))] += 1
            if int(sender) == self.spec.number:
                self.misheard += int(number) != self._returned
                self._returned += 1
                if self.sent_at:
                    own.append(now - self.sent_at.popleft())
        return own
