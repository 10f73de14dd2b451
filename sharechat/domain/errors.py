"""Everything that can go wrong, in one tree. Adapters turn their vendors' errors into these."""

from math import ceil


class SharechatError(Exception):
    """The root. Its text is a sentence that may be shown to a client."""


class RoomNotFoundError(SharechatError):
    """There is no such room, or the id cannot be a room's."""

    def __init__(self) -> None:
        super().__init__("There is no such room.")


class MessageNotFoundError(SharechatError):
    """The room has no message with this id, so it cannot serve as a cursor."""

    def __init__(self) -> None:
        super().__init__("The room has no message with this id.")


class WrongKeyError(SharechatError):
    """The key is not the one that was returned when the room was created."""

    def __init__(self) -> None:
        super().__init__("This is not the key of the room.")


class NotAMemberError(SharechatError):
    """The author is not, or is no longer, a member of the room."""

    def __init__(self) -> None:
        super().__init__("The author is not a member of the room.")


class LeaseLostError(SharechatError):
    """The other processes have declared this one dead and made its members leave."""

    def __init__(self) -> None:
        super().__init__("This server lost touch with the others and starts afresh.")


class RejectedError(SharechatError):
    """The Repository works but refuses this data, and would refuse it again."""


class NoSpaceError(RejectedError):
    """The Repository has no space for a message, until something has been removed."""

    def __init__(self) -> None:
        super().__init__("The message could not be stored: the server is full.")


class UnavailableError(SharechatError):
    """The Repository or the Queue cannot be reached.

    Whether the request took effect is unknown; it is safe to repeat it.
    """


class StoppingError(SharechatError):
    """This process is stopping and takes no new members."""

    def __init__(self) -> None:
        super().__init__("The server is stopping.")


class FullError(SharechatError):
    """This process has as many members, or keeps as much in memory, as it may."""

    def __init__(self) -> None:
        super().__init__("The server is full.")


class TooManyConnectionsError(SharechatError):
    """One address has as many connections as it may have."""

    def __init__(self) -> None:
        super().__init__("Close some of the other connections first.")


class TooFastError(SharechatError):
    """One address has made as many rooms or joins as it may for now.

    `retry_after` is how many whole seconds later it may make another.
    """

    def __init__(self, wait: float) -> None:
        self.retry_after = ceil(wait)
        super().__init__(
            "There were too many rooms or joins from this address. "
            f"Try again in {self.retry_after} s."
        )


class NotStoredError(SharechatError):
    """A message could not be stored; the text tells its author why."""


class ConnectionClosedError(SharechatError):
    """The peer has gone, or the connection was closed: nothing more is sent or received."""
