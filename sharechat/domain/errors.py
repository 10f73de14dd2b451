"""Everything that can go wrong, in one tree; adapters turn their vendors' errors into these."""


class SharechatError(Exception):
    """The root. Its text is a sentence that can be shown to a client."""


class RoomNotFoundError(SharechatError):
    """There is no such room, or the id is no room id at all."""

    def __init__(self) -> None:
        super().__init__("There is no such room.")


class MessageNotFoundError(SharechatError):
    """The room has no message with this id, so it cannot serve as a cursor."""

    def __init__(self) -> None:
        super().__init__("The room has no message with this id.")


class WrongKeyError(SharechatError):
    """The key is not the one that the room was made with."""

    def __init__(self) -> None:
        super().__init__("This is not the key of the room.")


class NotAMemberError(SharechatError):
    """The author is not (or no longer) a member of the room."""

    def __init__(self) -> None:
        super().__init__("The author is not a member of the room.")


class LeaseLostError(SharechatError):
    """The other processes take this process for dead: its members have been made to leave."""

    def __init__(self) -> None:
        super().__init__("This server lost touch with the others and starts afresh.")


class RejectedError(SharechatError):
    """The Repository can be reached but refuses the data, now and whenever it is tried again."""


class UnavailableError(SharechatError):
    """The Repository or the Queue cannot be reached.

    Whether what was asked has been done is not known; asking again is safe.
    """


class StoppingError(SharechatError):
    """This process takes no new members: it is stopping."""

    def __init__(self) -> None:
        super().__init__("The server is stopping.")


class FullError(SharechatError):
    """This process has as many members as it takes."""

    def __init__(self) -> None:
        super().__init__("The server is full.")


class NotStoredError(SharechatError):
    """A message could not be stored; the text is the reason, in words for its sender."""


class ConnectionClosedError(SharechatError):
    """The peer has gone, or the connection was closed: nothing more comes or goes."""
