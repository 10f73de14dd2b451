"""What the actors ask of the world: the three ports and their whole contracts.

Every adapter of a port passes the port's contract suite in `tests/integration`. No
adapter lets an error of its vendor through: they raise what is named here (see
`sharechat.domain.errors`) and `trio.Cancelled`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import trio

from sharechat.domain.errors import (
    LeaseLostError,
    NotAMemberError,
    RejectedError,
    RoomNotFoundError,
)
from sharechat.domain.messages import (
    Batch,
    Draft,
    Entry,
    Identity,
    MessageId,
    ProcessId,
    RoomId,
    RoomInfo,
)
from sharechat.domain.outcomes import Close

Refusal = RoomNotFoundError | NotAMemberError | LeaseLostError | RejectedError
"""Why one draft of a batch was not stored, while the others were."""


class Present(NamedTuple):
    """A member and the room that it is in."""

    room_id: RoomId
    member: Identity


class Repository(Protocol):
    """The rooms, their logs and their members: the source of truth.

    Any number of processes use one Repository at the same time. What a method returned is
    durable. Every method may raise UnavailableError: the Repository cannot be reached, and
    whether the change was made is not known. Every change can be asked for again with the
    same arguments; it is then made once. Cancelling a method leaves it unknown, likewise,
    whether its change was made; the Repository stays usable.
    """

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        """Add an empty room that `delete_room` removes for whoever has `key_hash`."""
        ...

    async def get_room(self, room_id: RoomId) -> RoomInfo:
        """Return the room with its present head. Raises RoomNotFoundError."""
        ...

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        """Remove the room, its members and its messages.

        Raises RoomNotFoundError, and WrongKeyError if `key_hash` is not the room's.
        """
        ...

    async def get_members(self, room_id: RoomId) -> list[Identity]:
        """Return the members, of all processes, in order of joining.

        Raises RoomNotFoundError.
        """
        ...

    async def append(self, drafts: Sequence[Draft], process_id: ProcessId) -> list[Entry | Refusal]:
        """Store the drafts at the ends of their rooms' logs, in one commit.

        Returns, in the order of the drafts, the entry that each became or why it was
        refused; a refused draft changes nothing and does not hold up the others.

        - An entry's `seq` is one more than its room's last; drafts of one room are
          numbered in their order here. Nobody sees `seq` n+1 without n.
        - `sent` never goes back within a room.
        - A draft whose id is already stored in its room is not stored again: it gets the
          entry that it became then.
        - `joined` makes its author a member, the last in order of joining, who is in the
          room through `process_id`. It is refused with LeaseLostError if that process has
          no lease.
        - `left` ends the membership. `chat` and `left` are refused with NotAMemberError if
          the author is not a member at that point of the log: each `joined` has at most
          one `left`, and nobody talks outside of the two.
        - A room that does not exist: RoomNotFoundError. Text that cannot be stored, such
          as a NUL: RejectedError.

        The caller may give any number of drafts, and none twice in one call.
        """
        ...

    async def read(self, room_id: RoomId, *, after: int, limit: int) -> list[Entry]:
        """Return the entries from `seq` `after` + 1 on, oldest first, `limit` at most.

        Since a log has no gaps, every page of it can be asked for by arithmetic. An empty
        list: there is nothing after `after`. Raises RoomNotFoundError.
        """
        ...

    async def find(self, room_id: RoomId, message_id: MessageId) -> int:
        """Return the `seq` of a message.

        Raises RoomNotFoundError, MessageNotFoundError.
        """
        ...

    async def get_heads(self, room_ids: Collection[RoomId]) -> dict[RoomId, int]:
        """Return each room's head, in one round trip; rooms that do not exist are left out."""
        ...

    async def remove_stale_rooms(self, age: float) -> list[RoomId]:
        """Remove rooms that nobody has been in for `age` seconds; return their ids.

        If there are very many, some of them; the others another time. The time that counts
        is that of the last entry, or of the making of the room.
        """
        ...

    async def open_lease(self, process_id: ProcessId) -> None:
        """Make a process known as living, so that members can join through it."""
        ...

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        """Say that the process lives, and return a number for each living process.

        The number of a process grows whenever it renews. Nothing here depends on a clock:
        who watches the numbers judges by its own. Raises LeaseLostError if `end_lease`
        has been called for `process_id`.
        """
        ...

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        """Declare a process dead, for good; return whether it now is.

        With `renewal`, only if that is still the number of its last renewal: so a process
        that came back just in time stays alive.
        """
        ...

    async def get_orphans(self) -> list[Present]:
        """Return the members, up to 1,000 of them, whose processes are dead."""
        ...

    async def get_members_of(self, process_id: ProcessId) -> list[Present]:
        """Return all who are members through this process."""
        ...

    async def check(self) -> None:
        """Return if the Repository works; raise UnavailableError, with the reason, if not."""
        ...


class Listener(Protocol):
    """Who hears what a Queue brings. Its methods neither wait nor raise."""

    def heard(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        """Some process published this, perhaps this one, perhaps not for the first time."""
        ...

    def missed(self, room_ids: Collection[RoomId]) -> None:
        """Something may have been published to these rooms that was not heard."""
        ...


class Queue(Protocol):
    """The bus between processes: fast, and free to lose, repeat and reorder.

    Nothing depends on it but speed: what it lost is read from the Repository.
    """

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        """Offer entries of a room's log to all who subscribe to it. Never waits.

        If the Queue is away or its bounded buffer is full they are dropped. No entries at
        all means "look at this room": they arrive as such, and who hears that asks the
        Repository. Whether the publisher hears itself is left open.
        """
        ...

    def subscribe(self, room_id: RoomId) -> None:
        """Begin to hear a room. Never waits.

        Once it is heard the listener is told that it missed something, since it may have
        until then; and so again after every interruption.
        """
        ...

    def unsubscribe(self, room_id: RoomId) -> None:
        """Stop hearing a room; harmless if it is not heard. Never waits."""
        ...

    async def run(
        self,
        listener: Listener,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Carry messages until cancelled, reconnecting as needed.

        Started at once, connected or not. Cancelling closes what is open. Called once.
        """
        ...

    def check(self) -> None:
        """Return if the Queue works; raise UnavailableError, with the reason, if not.

        Says nothing before `run` has started.
        """
        ...


class Connection(Protocol):
    """One client, as one member's two tasks see it: one receives, the other sends."""

    async def receive(self) -> str:
        """Return the next text that the client sent.

        Raises ConnectionClosedError once the client has gone and all that it sent before
        has been returned. A client that breaks the rules (not UTF-8, too large) counts as
        gone, and is told why by `aclose`. Cancelling loses nothing: the text is returned
        by the next call.
        """
        ...

    def send_nowait(self, batch: Batch) -> None:
        """Send a batch if that needs no waiting.

        Raises trio.WouldBlock, having sent nothing, if it would have to wait.

        Must not be called while `send` runs. Raises ConnectionClosedError.
        """
        ...

    async def send(self, batches: Sequence[Batch]) -> None:
        """Send the batches' messages, one a frame, waiting for as long as the client takes.

        Raises ConnectionClosedError. After a cancelled send the connection can only be closed.
        """
        ...

    async def aclose(self, close: Close | None = None) -> None:
        """Close the connection, saying why, unless it is closed already.

        Ends within seconds whatever the client does, also when cancelled.
        """
        ...
