"""A room that a program is in, over as many connections as that takes."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple, NoReturn, Self
from uuid import uuid4

import msgspec
import trio
from trio_websocket import WebSocketConnection

from sharechat.client.addresses import RoomAddress
from sharechat.client.errors import ClientError, ProtocolError, UnreachableError
from sharechat.client.outbox import Outbox
from sharechat.client.websocket import open_websocket, unwrapped
from sharechat.domain.messages import Identity, Message, MessageType, Welcome

MAX_UNHEARD = 1000
"""How many messages may wait to be taken; then no more are read, and the server waits."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 20.0
"""Seconds: the most that is waited before the second try, and before any later one."""

WELCOME_TIMEOUT = 20.0
"""Seconds within which a server has to answer a join: it gives up on storing one earlier."""

_messages = msgspec.json.Decoder(Message)
_welcome = msgspec.json.Decoder(Welcome)


class Phase(Enum):
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    """There is no connection, and the next try is at `State.until`."""
    ENDED = "ended"
    """There will be no other try: `State.error` is why, None if the program left."""


class State(NamedTuple):
    """How it stands with the connection."""

    phase: Phase
    error: ClientError | None = None
    """Why there is no connection."""
    until: float = 0.0
    """When the next try is, by `trio.current_time`."""


class JoinedRoom:
    """See `join`. Iterate over it for the room's messages; one task may do so at a time."""

    def __init__(self, address: RoomAddress, *, hear: bool, after: str | None) -> None:
        self.address = address
        self.name = ""
        """The room's name; empty until there was a connection."""
        self.me: Identity | None = None
        """Who this member is; another one after each new connection."""
        self.state = State(Phase.CONNECTING)
        self._state_changed = trio.Event()
        self._outbox = Outbox()
        self._heard, self._messages = trio.open_memory_channel[Message](MAX_UNHEARD)
        self._hears = hear
        # The last message of the log that was heard, and when it was stored if that is known.
        self._last = after
        self._last_sent = datetime.min.replace(tzinfo=UTC)

    async def say(
        self,
        text: str,
        *,
        id: str | None = None,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> Message:
        """Say something; return the message once it is stored, exactly once.

        It is said again over the next connection for as long as it is not acknowledged. Raises
        NotStoredError if the server refuses it or cannot store it now, which may be tried again
        with the same `id` (a UUID, by default a new one), and what has ended the room. If
        cancelled, it may have been stored.

        To say several things at once and in order, use `await nursery.start(room.say, text)`,
        which returns once the message has its place, and waits while too many are under way.
        """
        if self.state.phase is Phase.ENDED:
            self._raise_end()
        return await self._outbox.say(id or str(uuid4()), text, task_status=task_status)

    async def state_change(self) -> State:
        """Wait until `state` changes, and return it."""
        await self._state_changed.wait()
        return self.state

    async def connected(self) -> None:
        """Wait until there is a connection. Raises what has ended the room."""
        while self.state.phase is not Phase.CONNECTED:
            if self.state.phase is Phase.ENDED:
                self._raise_end()
            await self._state_changed.wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Return the next message. Raises what has ended the room. Cancelling loses nothing."""
        try:
            return await self._messages.receive()
        except trio.EndOfChannel:
            self._raise_end()

    def _raise_end(self) -> NoReturn:
        raise self.state.error or ClientError("The room has been left.")

    def _set_state(self, state: State) -> None:
        self.state = state
        self._state_changed.set()
        self._state_changed = trio.Event()

    async def _run(self) -> None:
        """Be in the room until cancelled or told not to come back."""
        error: ClientError | None = None
        try:
            failures = 0
            while True:
                self._set_state(State(Phase.CONNECTING, error))
                try:
                    async with open_websocket(self.address, self._last) as websocket:
                        await self._converse(websocket)
                except ClientError as reason:
                    error = reason
                    if not error.retry:
                        return
                failures = 0 if self.state.phase is Phase.CONNECTED else failures + 1
                # "Full jitter": clients that lost the same server come back spread out.
                longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures, 16))
                pause = random.uniform(0, longest)  # noqa: S311
                self._set_state(State(Phase.WAITING, error, trio.current_time() + pause))
                await trio.sleep(pause)
        finally:
            self._set_state(State(Phase.ENDED, error))
            self._outbox.fail(error or ClientError("The room has been left."))
            self._heard.close()

    async def _converse(self, websocket: WebSocketConnection) -> None:
        """Say what waits and hear what comes, until the connection ends."""
        welcome = await _get_first(websocket)
        if not isinstance(welcome, Welcome):
            raise ProtocolError("The first frame is no welcome.")
        self.name = welcome.room_name
        self.me = me = Identity(welcome.member_id, welcome.member_name)
        resumed = self._last is not None
        if not resumed:
            # There is no id to come back with before the member's own `joined`.
            await self._hear_own_joined(websocket)
        again = self._outbox.start_again()
        self._set_state(State(Phase.CONNECTED))
        async with unwrapped(), trio.open_nursery() as nursery:
            nursery.start_soon(self._speak, websocket)
            await self._hear(websocket, me, again, resumed=resumed)

    async def _hear_own_joined(self, websocket: WebSocketConnection) -> None:
        joined = await _get_first(websocket)
        if not isinstance(joined, Message):
            raise ProtocolError("The welcome is not followed by a message.")
        if self._hears:
            await self._heard.send(joined)
        self._remember(joined)

    async def _speak(self, websocket: WebSocketConnection) -> None:
        while True:
            said = await self._outbox.next()
            await websocket.send_message(said.frame)

    async def _hear(
        self, websocket: WebSocketConnection, me: Identity, again: set[str], *, resumed: bool
    ) -> None:
        """Take up messages. `again` are the ids that are said again over this connection.

        Such a message may come twice: in its place in the log, if that is after where this
        member began to hear, and then as the answer to its having been said again.
        """
        heard: set[str] = set()
        while True:
            message = _decode(await websocket.get_message())
            if not isinstance(message, Message):
                continue
            if message.type is MessageType.FAILED:
                self._outbox.refuse(message)
                continue
            awaited = self._outbox.acknowledge(message)
            in_place = True
            if message.id in again:
                if message.id in heard:
                    continue
                heard.add(message.id)
                in_place = resumed or message.member_id == me.id
            elif awaited:
                # Another member may have stored it long ago, under an id that the program chose.
                in_place = message.member_id == me.id
            if self._hears:
                await self._heard.send(message)
            if in_place:
                self._remember(message)

    def _remember(self, message: Message) -> None:
        """Come back after this message, unless it is older than one that was heard before.

        It is then the answer to a message that was said again. `sent` never goes back in a log.
        """
        if message.sent >= self._last_sent:
            self._last, self._last_sent = message.id, message.sent


async def _get_first(websocket: WebSocketConnection) -> Welcome | Message:
    """Return what the next frame holds, one of those that are sent as soon as one has joined."""
    with trio.move_on_after(WELCOME_TIMEOUT):
        return _decode(await websocket.get_message())
    raise UnreachableError("The server does not answer.")


def _decode(frame: str | bytes) -> Welcome | Message:
    """Return what a frame holds. Raises ProtocolError."""
    try:
        try:
            return _messages.decode(frame)
        except msgspec.ValidationError:
            return _welcome.decode(frame)
    except msgspec.MsgspecError:
        raise ProtocolError("The server sent something that cannot be read.") from None


@asynccontextmanager
async def join(
    room: str | RoomAddress,
    *,
    hear: bool = True,
    wait: bool = True,
    after: str | None = None,
) -> AsyncIterator[JoinedRoom]:
    """Be in a room for the length of the block, coming back whenever the connection is lost.

    `room` is its address, in any form that people copy. Entering waits for a connection for as
    long as that takes; with `wait=False` it does not wait, and what ends the room is raised by
    what is done with it. With `hear=False` messages are not kept for iterating; else the program
    has to take them, since while MAX_UNHEARD of them wait nothing is read. With `after`, the id
    of a message, the room is heard from past that message on.

    Raises ValueError for a malformed address, and RefusedError or ProtocolError if there is no
    point in trying again. At the end of the block, or if cancelled, the connection is closed.
    """
    joined = JoinedRoom(
        room if isinstance(room, RoomAddress) else RoomAddress.parse(room),
        hear=hear,
        after=after,
    )
    async with unwrapped(), trio.open_nursery() as nursery:
        nursery.start_soon(joined._run)
        if wait:
            await joined.connected()
        yield joined
        nursery.cancel_scope.cancel()
