"""What the parts of a simulation know of its processes, authors and clients: plain data."""

from collections import defaultdict
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

import trio

from sharechat.domain.ids import MemberId, MessageId, ProcessId, RoomId
from sharechat.domain.messages import Draft, Message, Welcome
from sharechat.domain.outcomes import Close
from tests.simulation.websocket import ClientWebsocket


class ProcessState:
    """Whether a process is running, frozen or dead. Times are the simulated clock's."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.dead = False
        """Whether it was killed."""
        self.frozen = False
        self.subscribed: Mapping[RoomId, None] = {}
        """The rooms that it wants to hear on the bus."""
        self.up_at: float | None = None
        self.ended_at: float | None = None
        """When it was killed or told to stop."""
        self.over = trio.Event()
        """Set once none of its tasks runs any more."""
        self.lease_id: ProcessId | None = None
        """The id that it last tried to open a lease for."""
        self.lost_lease_at: float | None = None
        """When the other processes first declared it dead although it had not been killed."""
        self.disturbed: list[tuple[float, float]] = []
        """When it was frozen, and when a call of the Repository did not simply work: from, to."""
        self.learned: defaultdict[RoomId, list[tuple[float, float]]] = defaultdict(list)
        """When the process was told of a room's log, and up to where; infinite: of its removal."""

    @property
    def up(self) -> bool:
        return self.up_at is not None and self.ended_at is None

    def learn(self, room_id: RoomId, head: float) -> None:
        """Record that the process was told now of the room's log up to `head`, or its removal."""
        self.learned[room_id].append((trio.current_time(), head))

    def calm_from(self, at: float, seconds: float) -> float:
        """Return when the first `seconds` begin, at `at` or later, in which nothing disturbs.

        The process runs all the time, and every call of the Repository simply works. Infinite
        if there is no such time.
        """
        if self.up_at is None:
            return inf
        at = max(at, self.up_at)
        for start, end in sorted(self.disturbed):
            if start <= at + seconds and end >= at:
                at = end
        ended = self.ended_at is not None and self.ended_at < at + seconds
        return inf if ended else at

    async def halt_if_dead(self) -> None:
        """Never return if the process was killed; every call out of the process waits here."""
        if self.dead:
            await trio.sleep_forever()


class Said(NamedTuple):
    """What a client sends in one frame."""

    frame: str
    text: str
    """The text of the message; for a malformed frame, the frame itself."""
    id: MessageId | None = None
    """The id that the client has chosen."""


@dataclass
class Given:
    """A message that the server gave to its Journal."""

    draft: Draft
    at: float = inf
    """When the Journal had room for it."""
    settled_at: float = inf
    """When the member was told what became of it, if it was."""
    failed: bool = False
    """Whether that was that it is not stored."""


class AuthorState:
    """What one person said in one room, over one connection after the other."""

    def __init__(self, number: int, room_id: RoomId, *, chooses_ids: bool = False) -> None:
        self.number = number
        self.room_id = room_id
        self.chooses_ids = chooses_ids
        """Whether the author speaks `sharechat.v1`."""
        self.connection: ClientState | None = None
        """The newest connection."""
        self.last_heard: MessageId | None = None
        """The message that lies furthest in the log of all that the author has read."""
        self.kept: dict[MessageId, Said] = {}
        """What the author has said and does not know to be stored, in order."""
        self.failed: set[MessageId] = set()
        """Those of them that were reported to have failed, and were not said again."""

    def __repr__(self) -> str:
        return f"author {self.number}"


@dataclass
class QueueRecord:
    """Everything that went through one process's Queue. Times are the simulated clock's."""

    process: ProcessState
    published: list[tuple[float, RoomId, int | None]] = field(default_factory=list)
    """When, and the last `seq` in it; None for a look."""
    wanted: defaultdict[RoomId, list[list[float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """From when until when each room was subscribed to; infinite if it still is."""
    heard: defaultdict[RoomId, list[tuple[float, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """When entries were heard, and the last `seq` among them."""
    missed: defaultdict[RoomId, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When it was told that it may have missed something."""


class ClientState:
    """What one client did and received, and how far the server has served it."""

    websocket: ClientWebsocket

    def __init__(
        self, number: int, process: ProcessState, author: AuthorState, after: MessageId | None
    ) -> None:
        self.number = number
        self.process = process
        self.author = author
        self.room_id = author.room_id
        self.after = after
        self.member_id: MemberId | None = None
        self.heard: list[tuple[float, Message]] = []
        """Each message that the client has read, and when."""
        self.welcome: Welcome | None = None
        """What the client was told first, if it speaks `sharechat.v1`."""
        self.last_heard: MessageId | None = None
        """The message that lies furthest in the log of all that the client has read."""
        self.awaited: set[MessageId] = set()
        """Ids that the server has received, and that the client has not heard since."""
        self.sent: list[Said] = []
        """What the client has sent."""
        self.consumed: list[str] = []
        """The texts that the server has received, in order."""
        self.consumed_at: list[float] = []
        """When it received each of them."""
        self.submitted_at: list[float] = []
        """When it had waited for as long as the rate demands."""
        self.given: list[Given] = []
        """What it gave to its Journal while the client was there."""
        self.settled_at: list[float] = []
        """When it knew what becomes of each of them: it is stored, or refused."""
        self.storing = False
        """Whether the server waits for one of them to be stored."""
        self.reads = True
        """Whether the client reads everything immediately."""
        self.dawdled = False
        """Whether the client has ever read slowly or not at all."""
        self.pace: float | None = None
        """Seconds between two messages that the client reads, if it has always read like that."""
        self.accepted_at: float | None = None
        """When the handshake was answered."""
        self.closed_at: float | None = None
        """When the server closed the connection."""
        self.close: Close | None = None
        self.gone_at: float | None = None
        """When the client went away."""
        self.noticed_at: float | None = None
        """When the server noticed that."""
        self.noticed_within = 1.0
        """Seconds after which the server must have noticed, if nothing keeps it from reading."""
        self.aborted = False
        """Whether the server gave up on a client that did not read, or was silent."""
        self.broken_off = False
        """Whether the connection ended with its process, or before it was accepted."""
        self.latency = 0.0
        """Seconds that everything takes from one end to the other."""
        self.lossy = False
        """Whether the client went before everything that it had sent had arrived."""

    def __repr__(self) -> str:
        return f"connection {self.number} ({self.member_id} on process {self.process.number})"

    @property
    def accepted(self) -> bool:
        return self.accepted_at is not None

    @property
    def holds_up_resuming(self) -> bool:
        """Whether the client catches up and did not always read.

        Its process waits for it, for seconds, before it looks what has become of the room.
        """
        return self.after is not None and self.dawdled

    @property
    def settled(self) -> int:
        return len(self.settled_at)

    @property
    def ended_at(self) -> float:
        """When the connection ended at either end, or its process did; infinite if none did."""
        ends = (self.gone_at, self.closed_at, self.process.ended_at)
        return min((at for at in ends if at is not None), default=inf)

    @property
    def here(self) -> bool:
        """Whether the connection is open at both ends."""
        return self.gone_at is None and self.closed_at is None

    @property
    def unanswered(self) -> bool:
        """Whether the server has not finished with everything that the client sent."""
        return len(self.sent) > self.settled


serving: ContextVar[ClientState] = ContextVar("serving")
"""The client whose member runs in the current task."""
