"""The ports: what the actors need from the outside, and the contract of each.

Every adapter of a port passes that port's contract suite in `tests/integration`. An adapter
lets none of its vendor's errors through: it raises only what is named here (see
`sharechat.domain.errors`), and `trio.Cancelled`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

import trio

from sharechat.domain.batch import Batch
from sharechat.domain.errors import (
    LeaseLostError,
    NotAMemberError,
    RejectedError,
    RoomNotFoundError,
)
from sharechat.domain.ids import MessageId, ProcessId, RoomId
from sharechat.domain.messages import Draft, Entry, Identity, RoomInfo
from sharechat.domain.outcomes import Close

Refusal = RoomNotFoundError | NotAMemberError | LeaseLostError | RejectedError
"""Why one draft of a batch was not stored, while the others were."""


class Present(NamedTuple):
    """A member and the room that it is in."""

    room_id: RoomId
    member: Identity


class Repository(Protocol):
    """The rooms, their logs and their members: the source of truth.

    Any number of processes use one Repository at the same time. When a method returns, its
    change is durable. Every method may raise UnavailableError: the Repository cannot be
    reached, and whether the change was made is unknown. Every change may be repeated with the
    same arguments; it is made once. After a cancelled call it is likewise unknown whether the
    change was made; the Repository stays usable.
    """

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        """Add an empty room, which `delete_room` removes if it is given the same `key_hash`.

        Raises FullError if there is no space for more rooms.
        """
        ...

    async def get_rooms(self, room_ids: Collection[RoomId]) -> dict[RoomId, RoomInfo]:
        """Return the rooms with their present heads, in one round trip.

        Rooms that do not exist are left out.
        """
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
          room through `process_id`. It is refused with LeaseLostError if that process holds
          no lease.
        - `left` ends the membership. `chat` and `left` are refused with NotAMemberError if
          the author is not a member at that point of the log: each `joined` has at most
          one `left`, and nobody talks outside of the two.
        - A room that does not exist: RoomNotFoundError. Text that cannot be stored, such
          as a NUL, or for which there is no space: RejectedError. There always is for `left`.

        The caller may pass any number of drafts. Several may have the same id: the first of them
        that is not refused is stored, and those after it get its entry.
        """
        ...

    async def read(self, room_id: RoomId, *, after: int, limit: int, max_bytes: int) -> list[Entry]:
        """Return the entries from `seq` `after` + 1 on, oldest first, `limit` at most.

        The JSON of their messages has `max_bytes` at most, unless that of the first one alone
        has more: the page then consists of that entry. An adapter that does not know how long
        a text is in JSON counts six bytes for each byte, the most that it can be. So a page
        may be shorter than `limit` although the log goes on; it is empty only if there is
        nothing after `after`. Since a log has no gaps, the bounds of any page can be computed.
        Raises RoomNotFoundError.
        """
        ...

    async def find(self, room_id: RoomId, message_id: MessageId) -> int:
        """Return the `seq` of a message.

        Raises RoomNotFoundError, MessageNotFoundError.
        """
        ...

    async def remove_stale_rooms(
        self, age: float, unjoined_age: float | None = None
    ) -> list[RoomId]:
        """Remove rooms that nobody has been in for `age` seconds; return their ids.

        A room's age counts from its last entry or, if it has none, from its creation. One that
        nobody has ever joined is removed after `unjoined_age` seconds, if that is less. If
        there are very many such rooms, only some are removed; call again for the others.
        """
        ...

    async def open_lease(self, process_id: ProcessId) -> None:
        """Register a process as alive, so that members can join through it."""
        ...

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        """Record that the process is alive; return the renewal number of each live process.

        A process's number grows each time it renews. No clock is involved: an observer
        watches the numbers and judges by its own clock. Raises LeaseLostError if `end_lease`
        has been called for `process_id`.
        """
        ...

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        """Declare a process dead for good; return whether it now is.

        With `renewal`, do so only if that is still its renewal number: a process that renewed
        just in time stays alive.
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
    """Receives what a Queue brings. Its methods neither wait nor raise."""

    def heard(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        """Take entries that some process published: perhaps this one, perhaps not first."""
        ...

    def missed(self, room_ids: Collection[RoomId]) -> None:
        """Learn that entries of these rooms may have been published and not been heard."""
        ...


class Queue(Protocol):
    """The bus between processes. It is fast, and may lose, repeat and reorder anything.

    Only speed depends on it: what it loses is read from the Repository.
    """

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        """Send entries of a room's log to every process that subscribes to it. Never waits.

        Entries are dropped if the Queue is away or its bounded buffer is full; once it works
        again, the subscribers are told that they missed something. Whether the publisher
        hears its own entries is not specified.
        """
        ...

    def publish_look(self, room_id: RoomId) -> None:
        """Tell every process that subscribes to a room to look at it. Never waits.

        Their listeners are told that they missed something. Used when a room has changed
        otherwise than by entries, such as when it has been deleted.
        """
        ...

    def subscribe(self, room_id: RoomId) -> None:
        """Begin to hear a room. Never waits.

        As soon as it is heard the listener is told that it missed something, since that may
        be so; and again after every interruption.
        """
        ...

    def unsubscribe(self, room_id: RoomId) -> None:
        """Stop hearing a room; does nothing if it is not heard. Never waits."""
        ...

    async def run(
        self,
        listener: Listener,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Carry messages until cancelled, reconnecting as needed. Called once.

        Reports that it has started at once, whether connected or not. Cancelling closes
        every connection.
        """
        ...

    def check(self) -> None:
        """Return if the Queue works; raise UnavailableError, with the reason, if not.

        The answer means nothing before `run` has started.
        """
        ...


class Connection(Protocol):
    """One client, as the two tasks of its member see it: one receives, the other sends.

    What is sent goes through one outgoing buffer, which `offer` fills and `drain` empties.
    """

    async def receive(self) -> str:
        """Return the next text that the client sent.

        Raises ConnectionClosedError when the client has gone, after everything that it sent
        before has been returned. A client that violates the protocol (text that is not
        UTF-8, or too large) counts as gone, and `aclose` tells it why. A cancelled call loses
        nothing: the next one returns the text.
        """
        ...

    @property
    def gone(self) -> bool:
        """Whether the client is known to have gone; `receive` may still have texts of it."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait without taking up another text, so that the client is held back.

        The client's pings and its close are answered meanwhile, where the adapter can. Returns
        early if the client turns out to have gone. Cancelling loses nothing.
        """
        ...

    def offer(self, batch: Batch) -> bool:
        """Take a batch to be sent, one message a frame, or return False. Never waits.

        A batch is taken as a whole or not at all. If nothing waits in the buffer, a batch of
        any size is taken; otherwise only as much as keeps the buffer small. What is taken is
        sent in the order of the calls, and at once as far as that is possible without
        waiting. If anything is left in the buffer, some task must call `drain`. Raises
        ConnectionClosedError.
        """
        ...

    @property
    def backlog(self) -> int:
        """How many bytes have been taken and wait in the buffer."""
        ...

    async def drain(self) -> None:
        """Wait until everything that was taken has been sent, however slow the client is.

        One task at a time may wait; others may call `offer` meanwhile. Raises
        ConnectionClosedError if the connection is closed, if the client has gone or, where
        the adapter can tell, if the client has read nothing for some seconds. After a
        cancelled call the connection can only be closed.
        """
        ...

    async def aclose(self, close: Close | None = None) -> None:
        """Close the connection, telling the client why, unless it is closed already.

        What waits in the buffer may be dropped, but no message is cut in two unless the
        client does not read. Ends within seconds whatever the client does, and closes the
        connection also when it is cancelled.
        """
        ...
