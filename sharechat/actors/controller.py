"""The controller: starts every actor of this process, supervises them, and stops them."""

from collections.abc import Awaitable, Callable

import structlog
import trio

from sharechat.actors.arrivals import Arrivals
from sharechat.actors.follower import Follower
from sharechat.actors.history import History
from sharechat.actors.janitor import Janitor
from sharechat.actors.journal import Journal
from sharechat.actors.lease import Lease
from sharechat.actors.member import Member
from sharechat.actors.policy import Policy
from sharechat.actors.rooms import Rooms
from sharechat.domain.ids import MemberId
from sharechat.domain.messages import Identity, RoomInfo
from sharechat.domain.outcomes import RESTARTING
from sharechat.domain.ports import Connection, Queue, Repository
from sharechat.domain.sources import Sources
from sharechat.domain.subprotocols import PLAIN_TEXT, Subprotocol
from sharechat.domain.telemetry import SILENT, Level, Part, Telemetry
from sharechat.domain.token_bucket import TokenBucket

log = structlog.get_logger()

_CLOSED_AT_ONCE = 20
"""How many members are closed in one go when stopping."""

_RESTART_PAUSE = 1
"""Seconds before an actor that failed is started again."""


class Controller:
    """Supervises the actors of one process.

    Arrivals, the Journal, the Follower, the Lease, the Janitor and the Queue serve every room, so
    one that fails is started again. A room or a member that fails ends alone.
    """

    def __init__(
        self,
        repository: Repository,
        queue: Queue,
        policy: Policy,
        sources: Sources | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._queue = queue
        self._policy = policy
        self._sources = sources = sources or Sources()
        self._telemetry = telemetry
        self._members: dict[MemberId, Member] = {}
        telemetry.watch(Level.MEMBERS, self._members.__len__)
        self.rooms = Rooms(repository, queue, policy, telemetry)
        self.arrivals = Arrivals(policy, telemetry)
        self.history = History(repository, policy)
        self.lease = Lease(repository, self._lease_lost, policy, sources)
        self.journal = Journal(repository, queue, self.lease, self.rooms.deliver, policy, telemetry)
        self._follower = Follower(repository, queue, self.rooms, policy)
        self._janitor = Janitor(
            repository, queue, self.lease, self.journal, self._members.keys, policy, sources
        )
        # Cancels all actors while `run` runs; None at all other times.
        self._actors: trio.CancelScope | None = None
        self._stopping = False
        self._everyone_left = trio.Event()
        self._ended = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve members until `stop` is called or this is cancelled.

        Reports that it has started once it can serve members. Raises UnavailableError if the
        Repository cannot be reached at the start. Cancelling ends every actor at once: for
        members whose `left` the Journal has not stored by then, other processes store it.
        """
        await self.lease.open()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.rooms.run)
                nursery.start_soon(self._supervise, "arrivals", self.arrivals.run)
                nursery.start_soon(self._supervise, "journal", self.journal.run)
                nursery.start_soon(self._supervise, "deadlines", self.journal.keep_deadlines)
                nursery.start_soon(self._supervise, "queue", self._run_queue)
                nursery.start_soon(self._supervise, "follower", self._follower.run)
                nursery.start_soon(self._supervise, "lease", self.lease.run)
                nursery.start_soon(self._supervise, "janitor", self._janitor.run)
                self._actors = nursery.cancel_scope
                task_status.started()
        finally:
            self._actors = None
            self._ended.set()

    async def _supervise(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run an actor, and start it again if it fails, until cancelled."""
        while True:
            try:
                await run()
            except Exception:
                log.exception("actor failed, starting it again", actor=name)
                self._telemetry.failed(Part.ACTOR)
            await trio.sleep(_RESTART_PAUSE)

    async def _run_queue(self) -> None:
        await self._queue.run(self._follower)

    async def stop(self) -> None:
        """Make every member leave, store that, give back the lease, and end `run`.

        Takes at most `stop_timeout` seconds. A second call waits for the first to finish. If
        cancelled, it ends `run` at once. Does nothing if `run` does not run.
        """
        actors = self._actors
        if actors is None:
            return
        if self._stopping:
            await self._ended.wait()
            return
        self._stopping = True
        self.rooms.turn_away()
        try:
            with trio.move_on_after(self._policy.stop_timeout) as patience:
                await self._close_everyone()
                if self._members:
                    await self._everyone_left.wait()
                await self.journal.lefts_stored()
                await self.lease.close()
            if patience.cancelled_caught:
                log.warning("stopping took too long", members_left=len(self._members))
        finally:
            actors.cancel()
        await self._ended.wait()

    async def _close_everyone(self) -> None:
        """Close all members, a few at a time, so that they do not all come back at once."""
        members = list(self._members.values())
        pause = self._policy.stop_spread / max(1000, len(members))
        for index, member in enumerate(members):
            member.close(RESTARTING)
            if index % _CLOSED_AT_ONCE == _CLOSED_AT_ONCE - 1:
                await trio.sleep(pause * _CLOSED_AT_ONCE)

    def new_identity(self) -> Identity:
        return Identity(self._sources.member_id(), self._sources.member_name())

    async def serve_room(
        self,
        info: RoomInfo,
        connection: Connection,
        *,
        identity: Identity | None = None,
        after: int | None = None,
        subprotocol: Subprotocol = PLAIN_TEXT,
        messages: TokenBucket | None = None,
        arrived: Callable[[], None] | None = None,
    ) -> None:
        """Serve one connection in a room that `Rooms.open_room` returned: a member's whole life.

        The member is `identity`, which `new_identity` returned, or else a new one. With
        `after`, it hears the room from past that seq on. What it says draws on `messages`
        too, if that is given, which other members may share. `arrived` is called, perhaps more
        than once, when the member is in or will not be. The connection is closed when this
        returns. If cancelled, the member leaves and the connection is closed.
        """
        if not self.rooms.running:
            await connection.aclose(RESTARTING)
            return
        identity = identity or self.new_identity()
        with self.rooms.enter(info) as room:
            member = Member(
                identity,
                connection,
                room,
                self.journal,
                self.history,
                self._policy,
                self._sources,
                subprotocol=subprotocol,
                greeting=subprotocol.greeting(info, identity),
                shared_bucket=messages,
                arrived=arrived,
                telemetry=self._telemetry,
            )
            self._members[member.id] = member
            if self._stopping:
                member.close(RESTARTING)
            try:
                await member.run(after=after)
            finally:
                del self._members[member.id]
                if self._stopping and not self._members:
                    self._everyone_left.set()

    def _lease_lost(self) -> None:
        """Close all members: the other processes have stored that they left."""
        for member in list(self._members.values()):
            member.close(RESTARTING)
