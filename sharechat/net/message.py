"""One message that a client sends, put together from parts of any size."""

import zlib
from codecs import getincrementaldecoder
from collections.abc import Callable
from typing import NamedTuple

from sharechat.domain.outcomes import BAD_FRAME, NOT_UTF8, TOO_LARGE, Close
from sharechat.net.deflate import Inflater

_Utf8Decoder = getincrementaldecoder("utf-8")


class ViolationError(Exception):
    """The client violated the protocol; `close` is how the connection must be closed."""

    def __init__(self, close: Close) -> None:
        super().__init__(close.reason)
        self.close = close


class Text(NamedTuple):
    """A whole message, and its size in bytes of UTF-8."""

    text: str
    size: int


def to_text(data: bytes | bytearray) -> Text:
    """Return a message of these bytes. Raises ViolationError."""
    try:
        return Text(data.decode(), len(data))
    except UnicodeDecodeError:
        raise ViolationError(NOT_UTF8) from None


class Message:
    """A message whose end has not come yet."""

    __slots__ = ("_data", "_decode", "_max_bytes", "_validator", "inflater", "size")

    def __init__(
        self,
        inflater: Inflater | None,
        max_bytes: int,
        decode: Callable[[bytes], str] | None = None,
    ) -> None:
        """`decode` makes the text of the whole message; by default that is UTF-8."""
        self.inflater = inflater
        """Set if the message is compressed."""
        self.size = 0
        """How many bytes of it have come, as they were sent."""
        self._decode = decode
        self._max_bytes = max_bytes
        self._data = bytearray()
        self._validator = _Utf8Decoder()

    def add(self, payload: bytes) -> None:
        """Take a part that is not the last. Raises ViolationError."""
        part = self._append(payload)
        if self._decode is not None:
            return
        try:
            # The text is made at the end: in parts it would take more memory than the bytes.
            self._validator.decode(part)
        except UnicodeDecodeError:
            raise ViolationError(NOT_UTF8) from None

    def finish(self, payload: bytes) -> Text:
        """Take the last part and return the message. Raises ViolationError."""
        self._append(payload)
        if self.inflater is not None:
            self._append(b"", last=True)
        if self._decode is not None:
            return Text(self._decode(bytes(self._data)), len(self._data))
        return to_text(self._data)

    def _append(self, payload: bytes, *, last: bool = False) -> bytes:
        """Append what `payload` holds to the data, and return it."""
        self.size += len(payload)
        if self.inflater is not None:
            # One byte more than is allowed shows that there is more.
            limit = self._max_bytes + 1 - len(self._data)
            try:
                if last:
                    payload = self.inflater.end_message(limit)
                else:
                    payload = self.inflater.inflate(payload, limit)
            except zlib.error:
                raise ViolationError(BAD_FRAME) from None
        self._data += payload
        if len(self._data) > self._max_bytes:
            raise ViolationError(TOO_LARGE)
        return payload
