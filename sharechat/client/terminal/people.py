"""Who is in the room, by what is heard and by what the server was asked once."""

from collections.abc import Iterable

from sharechat.domain.ids import MemberId
from sharechat.domain.messages import Identity, Message, MessageType


class People:
    """The members of a room. Until the server's list has come it is not complete."""

    def __init__(self) -> None:
        self.names: dict[MemberId, str] = {}
        # The list may be older than what has been heard meanwhile.
        self._left: set[MemberId] | None = set()

    @property
    def complete(self) -> bool:
        return self._left is None

    def hear(self, message: Message) -> None:
        if message.type is MessageType.JOINED:
            self.names[message.member_id] = message.member_name
        elif message.type is MessageType.LEFT:
            self.names.pop(message.member_id, None)
            if self._left is not None:
                self._left.add(message.member_id)

    def add_list(self, members: Iterable[Identity]) -> None:
        """Add the server's list, which was asked for after the room had been joined."""
        left = self._left or set()
        listed = {member.id: member.name for member in members if member.id not in left}
        self.names = {**listed, **self.names}
        self._left = None
