"""What the parts of a simulation know of its processes and clients: plain data, no behaviour."""

from contextvars import ContextVar

import trio

from sharechat.domain.ids import MemberId, MessageId, RoomId
from sharechat.domain.messages import Message, MessageType
from sharechat.domain.outcomes import Close


class ProcessState:
    """Whether a process is running, frozen or dead. Times are the simulated clock's."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.dead = False
        """Whether it was killed."""
        self.frozen = False
        self.thawed = trio.Event()
        self.up_at: float | None = None
        self.ended_at: float | None = None
        """When it was killed or told to stop."""
        self.over = trio.Event()
        """Set once none of its tasks runs any more."""
        self.lost_lease_at: float | None = None
        """When the other processes first declared it dead while it was running."""

    @property
    def up(self) -> bool:
        return self.up_at is not None and self.ended_at is None

    async def wait_while_frozen(self) -> None:
        """Wait until the process is not frozen, or forever if it is dead.

        Every call into the process and out of it waits here.
        """
        while self.frozen or self.dead:
            if self.dead:
                await trio.sleep_forever()
            await self.thawed.wait()


class ClientState:
    """What one client did and received, and how far the server has served it."""

    def __init__(
        self, number: int, process: ProcessState, room_id: RoomId, after: MessageId | None
    ) -> None:
        self.number = number
        self.process = process
        self.room_id = room_id
        self.after = after
        self.member_id: MemberId | None = None
        self.heard: list[tuple[float, Message]] = []
        """Each message that the client has read, and when."""
        self.said = 0
        """How many texts the client has sent."""
        self.consumed: list[str] = []
        """The texts that the server has received, in order."""
        self.settled = 0
        """How many of those the server has finished with: it has asked for the next one."""
        self.reads = True
        """Whether the client reads everything immediately."""
        self.dawdled = False
        """Whether the client has ever read slowly or not at all."""
        self.accepted = False
        """Whether the handshake has been answered."""
        self.closed_at: float | None = None
        """When the server closed the connection."""
        self.close: Close | None = None
        self.gone_at: float | None = None
        """When the client went away."""

    def __repr__(self) -> str:
        return f"connection {self.number} ({self.member_id} on process {self.process.number})"

    @property
    def here(self) -> bool:
        """Whether the connection is open at both ends."""
        return self.gone_at is None and self.closed_at is None

    @property
    def unanswered(self) -> bool:
        """Whether the server has not finished with everything that the client sent."""
        return self.said > self.settled

    @property
    def last_heard(self) -> MessageId | None:
        """The id of the last stored message that the client has read."""
        stored = (m.id for _, m in reversed(self.heard) if m.type is not MessageType.FAILED)
        return next(stored, None)


serving: ContextVar[ClientState] = ContextVar("serving")
"""The client whose member runs in the current task."""
