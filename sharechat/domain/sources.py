"""Where ids, random names and the time of day come from."""

from datetime import UTC, datetime

from sharechat.domain import ids, names
from sharechat.domain.ids import MemberId, MessageId, ProcessId, RoomId


class Sources:
    """The real sources. Tests and the simulation pass subclasses that repeat exactly."""

    def room_id(self) -> RoomId:
        return ids.new_room_id()

    def room_name(self) -> str:
        return names.room_name()

    def member_id(self) -> MemberId:
        return ids.new_member_id()

    def member_name(self) -> str:
        return names.member_name()

    def message_id(self) -> MessageId:
        return ids.new_message_id()

    def process_id(self) -> ProcessId:
        return ids.new_process_id()

    def request_id(self) -> str:
        return ids.new_request_id()

    def now(self) -> datetime:
        """Return the time of day in UTC."""
        return datetime.now(UTC)
