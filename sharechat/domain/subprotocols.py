"""The two ways in which a client may speak on its websocket: plain text, or `sharechat.v1`."""

from typing import NamedTuple, Protocol

import msgspec

from sharechat.domain.errors import MessageNotFoundError, SharechatError
from sharechat.domain.ids import MessageId, parse_message_id
from sharechat.domain.messages import Identity, RoomInfo, Welcome

MAX_BYTES = 16 * 1024
"""Bytes of UTF-8 that a chat message may have by default."""

_AROUND_TEXT = 256
"""Bytes that a frame of `sharechat.v1` may have besides its text."""


class MalformedError(SharechatError):
    """A frame is not what the subprotocol asks for; `id` is the message's if it has one."""

    def __init__(self, reason: str, id_: MessageId | None) -> None:
        super().__init__(reason)
        self.id = id_


class Said(NamedTuple):
    """A chat message that a client has sent; `id` is None unless the client has chosen it."""

    id: MessageId | None
    text: str


class Subprotocol(Protocol):
    """How the texts of a websocket are read, and what its client is told first."""

    @property
    def name(self) -> str | None:
        """As it stands in `Sec-WebSocket-Protocol`; None if nothing is to be negotiated."""
        ...

    @property
    def max_frame(self) -> int:
        """Bytes that a text frame may have; the connection is closed at a larger one."""
        ...

    def read(self, frame: str) -> Said:
        """Return what a text frame says. Raises MalformedError."""
        ...

    def greeting(self, room: RoomInfo, member: Identity) -> Welcome | None:
        """Return what the member is sent before everything else."""
        ...


class PlainText:
    """Each text frame is a chat message, which may have `max_bytes` of UTF-8."""

    name = None

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_frame = max_bytes

    def read(self, frame: str) -> Said:
        return Said(None, frame)

    def greeting(self, room: RoomInfo, member: Identity) -> None:  # noqa: ARG002 - the Protocol's
        return None


PLAIN_TEXT = PlainText()


class SharechatV1:
    """Each text frame is JSON: `{"id": "<uuid>", "message": "<text>"}`, and nothing else.

    The text may have `max_bytes` of UTF-8.

    The id becomes the message's. So a client that does not know whether its message was stored
    sends it again with the same id, over any connection, and it is stored once.
    """

    name = "sharechat.v1"

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        # A byte of text takes up to six in JSON ("\u0001").
        self.max_frame = 6 * max_bytes + _AROUND_TEXT
        self._decode = msgspec.json.Decoder(_Frame).decode

    def read(self, frame: str) -> Said:
        try:
            said = self._decode(frame)
            id_ = parse_message_id(said.id)
        except (msgspec.MsgspecError, MessageNotFoundError):
            raise _what_is_wrong(frame) from None
        if len(said.message.encode(errors="surrogatepass")) > self._max_bytes:
            raise MalformedError(f"The message has more than {self._max_bytes} bytes.", id_)
        return Said(id_, said.message)

    def greeting(self, room: RoomInfo, member: Identity) -> Welcome:
        return Welcome(room.id, room.name, member.id, member.name)


class _Frame(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str
    message: str


def _what_is_wrong(frame: str) -> MalformedError:
    """Return the error for a frame that is no `_Frame` or whose id is no UUID."""
    try:
        said = msgspec.json.decode(frame)
    except msgspec.MsgspecError:
        return MalformedError("This is not JSON.", None)
    if not isinstance(said, dict):
        return MalformedError("This is not a JSON object.", None)
    id_ = None
    try:
        id_ = parse_message_id(said["id"])
    except KeyError:
        reason = 'The key "id" is missing.'
    except (MessageNotFoundError, AttributeError):
        reason = 'The value of "id" is not a UUID.'
    else:
        if "message" not in said:
            reason = 'The key "message" is missing.'
        elif not isinstance(said["message"], str):
            reason = 'The value of "message" is not a string.'
        else:
            reason = 'There are other keys than "id" and "message".'
    return MalformedError(reason, id_)
