"""What the REST endpoints answer with; `sharechat.web.openapi` describes these types to clients."""

from typing import Annotated

import msgspec

from sharechat.domain.ids import RoomId
from sharechat.domain.messages import UUID, Identity


class MadeRoom(msgspec.Struct, frozen=True, rename="camel"):
    """A room that has just been made."""

    room_id: Annotated[RoomId, UUID]
    room_name: str


class RoomWithMembers(msgspec.Struct, frozen=True, rename="camel"):
    """A room and who is in it."""

    room_id: Annotated[RoomId, UUID]
    room_name: str
    members: Annotated[list[Identity], msgspec.Meta(description="In the order of joining.")]
