"""A server process: a Controller, its Repository and Queue, and everything that can end it."""

import trio

from sharechat.actors.controller import Controller
from sharechat.actors.journal import Journal
from sharechat.actors.policy import Policy
from sharechat.actors.submission import Submission
from sharechat.domain.errors import (
    NotStoredError,
    RoomNotFoundError,
    SharechatError,
    UnavailableError,
)
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Entry
from sharechat.net.heartbeat import Heartbeat
from tests.simulation.client import SimClient
from tests.simulation.connection import SimConnection
from tests.simulation.faults import Fault, UnexpectedError
from tests.simulation.repository import SimRepository
from tests.simulation.sources import SimSources
from tests.simulation.state import Given, ProcessState, serving
from tests.simulation.watched_queue import WatchedQueue
from tests.simulation.world import World

_HANDSHAKE_SECONDS = (0.0, 0.0, 0.0, 0.002, 0.05, 0.5, 3.0)
_CLOSING_SECONDS = 11
"""Seconds that closing connections may add to the time that a stop takes."""


class SimProcess(ProcessState):
    """One process. It registers itself in the world; `run` runs it."""

    def __init__(self, world: World, policy: Policy) -> None:
        super().__init__(len(world.processes))
        world.processes.append(self)
        self.repository = SimRepository(world, self)
        self.queue = WatchedQueue(world, self, world.bus.connect(self))
        self.controller = Controller(self.repository, self.queue, policy, SimSources(world))
        _note_when_settled(self.controller.journal)
        self._world = world
        self._policy = policy
        self._scope = trio.CancelScope()
        self._heartbeat = Heartbeat()
        self._clients: list[SimClient] = []
        self._rng = world.rng(f"process {self.number}")
        self._done = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._frozen_at = 0.0
        self._freezable: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self._scope:
            async with trio.open_nursery() as self._freezable:
                self._freezable.start_soon(self._live)
                task_status.started()
        self._done.set()
        self.over.set()

    async def _live(self) -> None:
        async with trio.open_nursery() as background:
            background.start_soon(self._heartbeat.run)
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if await self._start(nursery):
                    await self._done.wait()
            background.cancel_scope.cancel()

    async def _start(self, nursery: trio.Nursery) -> bool:
        try:
            await nursery.start(self._run_controller)
        except (UnavailableError, UnexpectedError):
            # It does not start. The director starts another if it needs one.
            self._end()
            self._done.set()  # The nursery takes no more tasks.
            return False
        self.up_at = trio.current_time()
        self._world.note("up", self.number)
        return True

    async def _run_controller(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self.controller.run(task_status=task_status)
        if self.ended_at is None:
            self._world.report_violation(f"process {self.number} ended by itself")
        self._done.set()

    def _end(self) -> None:
        if self.ended_at is None:
            self.ended_at = trio.current_time()
            self._world.faults.begin(Fault.ENDED, self.number, 0)

    def visit(self, client: SimClient) -> None:
        """Serve a client, or break off its connection if the process is not running."""
        self._clients.append(client)
        if self._nursery is not None and self.up_at is not None and not self._done.is_set():
            self._nursery.start_soon(self._serve, client)
        else:
            self._break_off(client)

    def _break_off(self, client: SimClient) -> None:
        """Close a connection as the kernel does when the process has died."""
        if client.closed_at is None:
            client.closed_at = trio.current_time()
            client.broken_off = True
            self._world.note("broken off", client.number)
        client.server_socket.close()

    async def _serve(self, client: SimClient) -> None:
        """Do what the web layer does to serve a websocket."""
        try:
            info = await self.controller.rooms.open_room(client.room_id)
            after = None
            if client.after is not None:
                after = await self.repository.find(info.id, client.after)
        except (SharechatError, UnexpectedError) as error:
            self._world.note("refused", client.number, type(error).__name__)
            self._break_off(client)
            return
        # The client takes some time to read the answer to its handshake.
        await trio.sleep(self._rng.choice(_HANDSHAKE_SECONDS))
        client.accepted_at = trio.current_time()
        serving.set(client)
        connection = SimConnection(self._world, client)
        try:
            with self._heartbeat.watch(connection.direct):
                await self.controller.serve_room(
                    info, connection, after=after, subprotocol=client.subprotocol
                )
        except Exception as error:  # noqa: BLE001 - any exception is a violation
            self._world.report_violation(f"{client}: serve_room raised {error!r}")
        if client.closed_at is None:
            self._world.report_violation(f"{client} was served but not closed")

    async def delete(self, room_id: RoomId, key_hash: bytes) -> None:
        try:
            await self.controller.rooms.delete_room(room_id, key_hash)
        except (UnavailableError, RoomNotFoundError, UnexpectedError) as error:
            self._world.note("not deleted", room_id, type(error).__name__)

    def ask_to_delete(self, room_id: RoomId, key_hash: bytes) -> None:
        if self._nursery is not None and not self._done.is_set():
            self._nursery.start_soon(self.delete, room_id, key_hash)

    def stop(self) -> None:
        if self.up and self._nursery is not None:
            self._end()
            self._nursery.start_soon(self._stop)

    async def _stop(self) -> None:
        began = trio.current_time()
        try:
            await self.controller.stop()
        except UnexpectedError:
            self._world.note("stopping failed", self.number)
        except Exception as error:  # noqa: BLE001 - any exception is a violation
            self._world.report_violation(f"process {self.number}: stop raised {error!r}")
        await self._done.wait()
        took = trio.current_time() - began
        frozen = self._world.faults.between(began, began + took, {Fault.FROZEN}, self.number)
        if took > self._policy.stop_timeout + _CLOSING_SECONDS and not frozen:
            self._world.report_violation(f"process {self.number} took {took:.1f} s to stop")
        if self.queue.wanted:
            self._world.report_violation(
                f"process {self.number} is still subscribed: {self.queue.wanted}"
            )

    def kill(self) -> None:
        """End immediately; nothing that the process still tries to do takes effect."""
        if self._done.is_set():
            return
        self._end()
        self.dead = True
        self._let_run()
        for client in self._clients:
            self._break_off(client)
        self._done.set()
        self._scope.cancel()

    def freeze(self, seconds: float) -> None:
        if not self.frozen and not self.dead:
            self._world.faults.begin(Fault.FROZEN, self.number, seconds)
            self.frozen = True
            self._frozen_at = trio.current_time()
            if self._freezable is not None:
                self._world.freezer.freeze(self._freezable)
            self._world.later(seconds, self.thaw)

    def thaw(self) -> None:
        if self.frozen:
            self._let_run()
            self._world.bus.restore()

    def _let_run(self) -> None:
        if self.frozen:
            self.frozen = False
            self.disturbed.append((self._frozen_at, trio.current_time()))
            if self._freezable is not None:
                self._world.freezer.thaw(self._freezable)


def _note_when_settled(journal: Journal) -> None:
    """Record in the state of each client when it is known what becomes of its texts."""
    submit = journal.submit

    async def submit_and_note(submission: Submission) -> None:
        settle = submission.settle
        if settle is None:  # The client has gone.
            await submit(submission)
            return
        client = serving.get()
        given = Given(submission.draft)

        def settle_and_note(outcome: Entry | NotStoredError) -> None:
            client.storing = False
            given.settled_at = trio.current_time()
            given.failed = isinstance(outcome, NotStoredError)
            client.settled_at.append(given.settled_at)
            settle(outcome)

        client.storing = True
        submission.settle = settle_and_note
        try:
            await submit(submission)
        except trio.Cancelled:
            client.storing = False  # It is withdrawn.
            raise
        given.at = trio.current_time()
        client.given.append(given)

    journal.submit = submit_and_note  # type: ignore[method-assign]
