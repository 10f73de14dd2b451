"""A client for programs: join rooms, say each message exactly once, hear each once and in order.

    async with sharechat.client.join("https://chat.example/room/<id>") as room:
        await room.say("hello")
        async for message in room:
            print(f"{message.member_name}: {message.text}")

It runs on trio, and speaks the subprotocol `sharechat.v1`.
"""

from sharechat.client.addresses import RoomAddress
from sharechat.client.errors import (
    CertificateError,
    ClientError,
    NotStoredError,
    ProtocolError,
    RefusedError,
    RoomGoneError,
    UnreachableError,
)
from sharechat.client.rest import NewRoom, create_room, delete_room, history, members
from sharechat.client.room import JoinedRoom, State, join
from sharechat.domain.messages import Identity, Message, MessageType

__all__ = [
    "CertificateError",
    "ClientError",
    "Identity",
    "JoinedRoom",
    "Message",
    "MessageType",
    "NewRoom",
    "NotStoredError",
    "ProtocolError",
    "RefusedError",
    "RoomAddress",
    "RoomGoneError",
    "State",
    "UnreachableError",
    "create_room",
    "delete_room",
    "history",
    "join",
    "members",
]
