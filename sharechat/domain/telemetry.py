"""Telemetry: the port by which actors, adapters, net and web tell what happens."""

import enum
from collections.abc import Callable

from sharechat.domain.errors import SharechatError
from sharechat.domain.outcomes import Problem


class Level(enum.Enum):
    """A figure that goes up and down. It is read when somebody looks, and costs nothing else."""

    MEMBERS = enum.auto()
    """Members who are connected to this process."""
    ARRIVALS_WAITING = enum.auto()
    """Clients who wait for their turn to come in."""
    ROOMS = enum.auto()
    """Rooms that have an actor on this process."""
    WAITING = enum.auto()
    """Drafts in the Journal whose outcome is not known yet."""
    SPACE_USED = enum.auto()
    """Bytes that the rooms take in the file or in memory, as of a minute ago at most."""
    SPACE_LIMIT = enum.auto()
    """Bytes that they may take."""
    BUS_UP = enum.auto()
    """1 if the Queue works, else 0."""


class Part(enum.StrEnum):
    """What may fail without taking the process with it."""

    REQUEST = "request"
    CONNECTION = "connection"
    MEMBER = "member"
    ROOM = "room"
    MESSAGE = "message"
    ACTOR = "actor"


class Telemetry:
    """Is told what happens, and does nothing with it; an adapter overrides these methods.

    No method waits or raises. Where it is busy, a method is called once for a batch, and not for
    each message or member. Nothing here identifies a room, a member or a client, so that what an
    adapter keeps does not grow with their number.
    """

    def clock(self) -> float:
        """Return the time, in seconds, by which durations are measured; only differences count."""
        return 0.0

    def watch(self, level: Level, read: Callable[[], float]) -> None:
        """Learn how to read a level. `read` neither waits nor raises."""

    def failed(self, part: Part) -> None:
        """Something has gone wrong that nobody expected: a bug, whose traceback is in the log."""

    # Members.

    def joined(self, *, resumed: bool) -> None:
        """A member's `joined` is stored; `resumed` if it hears the room from a message on."""

    def left(self, *, too_slow: bool) -> None:
        """A member that had joined has ended; `too_slow` if too much waited for it to read."""

    def refused(self, problem: Problem) -> None:
        """A request or a handshake was refused."""

    def closed(self, code: int, *, by_client: bool) -> None:
        """A websocket has ended with a close code (RFC 6455, section 7.4).

        It is the code of whoever began to close. 1005: the client gave none; 1006: there was no
        close frame, because the client vanished or, if not `by_client`, was cut off.
        """

    def answered_ping(self, seconds: float) -> None:
        """A client's pong came `seconds` after the ping."""

    # The log.

    def stored(self, batch: int, chats: int, since: float) -> None:
        """One commit has settled `batch` drafts, of which `chats` are chat messages now stored.

        `since` is what `clock` returned before the commit.
        """

    def store_failed(self) -> None:
        """A commit has failed because the Repository is away; it will be tried again."""

    def not_stored(self, reason: SharechatError) -> None:
        """A client is told that its message was not stored."""

    def delivered(self, messages: int, size: int, members: int, since: float | None = None) -> None:
        """A batch of the log, with `size` bytes of JSON, was handed to each of `members` members.

        `since` is what `clock` returned before that; None for a single member, which catches up.
        """

    def gap_repaired(self, entries: int) -> None:
        """A room has read entries that it knew to exist and had not heard."""

    # The Queue, if it leads out of the process.

    def published(self, entries: int) -> None:
        """Entries were handed to the bus."""

    def heard(self, entries: int) -> None:
        """Entries came from the bus."""

    def lost(self, entries: int) -> None:
        """Entries were dropped, because the bus is away or its buffer is full."""

    def bus_interrupted(self) -> None:
        """The connection to the bus is lost, with what was on its way."""

    def bus_repaired(self, rooms: int) -> None:
        """Other processes are told to look at rooms of which something may have been lost."""

    def probe_returned(self, since: float) -> None:
        """The bus has brought back the probe that was sent at `since`, by `clock`."""

    # The web.

    def answered(self, route: str, status: int, since: float) -> None:
        """A REST request that came at `since`, by `clock`, has an answer.

        `route` is the method and the rule that matched, such as `GET /api/room/<room_id>`, so
        there are few.
        """


SILENT = Telemetry()
"""For whoever is not given another one."""
