"""A house: server processes over one memory Repository and one memory bus, and their clients.

The processes are simulated by one Controller each. Tests run under trio's `autojump_clock`, so
nothing here takes real time.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from sharechat.actors.controller import Controller
from sharechat.actors.policy import Policy
from sharechat.adapters.memory import MemoryBus, MemoryRepository
from sharechat.adapters.prometheus import PrometheusTelemetry
from sharechat.domain import ids
from sharechat.domain.ids import RoomId
from sharechat.domain.messages import Draft, Entry, Identity, Message, MessageType, RoomInfo
from sharechat.domain.outcomes import Close
from sharechat.domain.subprotocols import PLAIN_TEXT, Subprotocol
from tests.harness.connection import FakeConnection
from tests.harness.drafts import chat, joined
from tests.harness.queue import FaultyQueue
from tests.harness.repository import ScriptedRepository
from tests.harness.waiting import until

UNLIMITED = Policy(message_rate=0)


class RemoteMember:
    """A member on some other process: what it does is stored, but the bus does not carry it."""

    def __init__(self, repository: MemoryRepository, room_id: RoomId, name: str = "Fox") -> None:
        self.member = Identity(ids.new_member_id(), name)
        self.process_id = ids.new_process_id()
        self.room_id = room_id
        self._repository = repository

    # These bypass the script of a ScriptedRepository: they work even while it is away.

    async def joins(self) -> Entry:
        await MemoryRepository.open_lease(self._repository, self.process_id)
        return (await self._store(joined(self.room_id, self.member)))[0]

    async def says(self, *texts: str) -> list[Entry]:
        return await self._store(*(chat(self.room_id, self.member, t) for t in texts))

    async def _store(self, *drafts: Draft) -> list[Entry]:
        outcomes = await MemoryRepository.append(self._repository, drafts, self.process_id)
        assert all(isinstance(outcome, Entry) for outcome in outcomes), outcomes
        return [outcome for outcome in outcomes if isinstance(outcome, Entry)]


class Visit:
    """One client's visit to a room: its connection, and the task that serves it.

    Cancelling `scope` cancels the task; `over` is set when the task has ended.
    """

    def __init__(self, connection: FakeConnection) -> None:
        self.connection = connection
        self.scope = trio.CancelScope()
        self.over = trio.Event()

    async def ends(self, within: float = 60) -> Close | None:
        """Wait until the visit is over; return how the connection was closed."""
        with trio.fail_after(within):
            await self.over.wait()
        assert self.connection.closed.is_set()
        return self.connection.close


class Node:
    """One process: its Controller, its Queue, and what it has counted.

    Cancelling `scope` kills the process; `over` is set when its Controller has ended.
    """

    def __init__(self, repository: ScriptedRepository, bus: MemoryBus, policy: Policy) -> None:
        self.repository = repository
        self.queue = FaultyQueue(bus)
        self.telemetry = PrometheusTelemetry("test")
        self.controller = Controller(repository, self.queue, policy, telemetry=self.telemetry)
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.visits: list[Visit] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            await self.controller.run(task_status=task_status)
        self.over.set()

    def hears(self, room_id: RoomId, *entries: Entry) -> None:
        """Deliver entries to this process as if they had come over the bus."""
        self.queue.listener.heard(room_id, entries)

    def misses(self, room_id: RoomId) -> None:
        """Tell this process that the bus may have lost something about a room."""
        self.queue.listener.missed({room_id})

    async def serve(
        self,
        visit: Visit,
        info: RoomInfo,
        after: int | None = None,
        subprotocol: Subprotocol = PLAIN_TEXT,
    ) -> None:
        self.visits.append(visit)
        with visit.scope:
            await self.controller.serve_room(
                info, visit.connection, after=after, subprotocol=subprotocol
            )
        visit.over.set()


class House:
    """Processes over one Repository and one bus, all with the same `policy`."""

    def __init__(self, nursery: trio.Nursery, policy: Policy) -> None:
        self.nursery = nursery
        self.policy = policy
        self.repository = ScriptedRepository()
        self.bus = MemoryBus()
        self.nodes: list[Node] = []

    async def add_node(self) -> Node:
        node = Node(self.repository, self.bus, self.policy)
        self.nodes.append(node)
        await self.nursery.start(node.run)
        return node

    async def visit(
        self,
        room_id: RoomId,
        node: int = 0,
        *,
        after: int | None = None,
        connection: FakeConnection | None = None,
        subprotocol: Subprotocol = PLAIN_TEXT,
    ) -> Visit:
        """Start a visit, and return without waiting for the client to join."""
        info = await self.nodes[node].controller.rooms.open_room(room_id)
        visit = Visit(connection or FakeConnection())
        self.nursery.start_soon(self.nodes[node].serve, visit, info, after, subprotocol)
        return visit

    async def join(self, room_id: RoomId, node: int = 0, *, slow: bool = False) -> FakeConnection:
        """Start a visit, and wait until the client has heard its own `joined`."""
        visit = await self.visit(room_id, node, connection=FakeConnection(slow=slow))
        await until(lambda: bool(visit.connection.received))
        return visit.connection

    async def stop(self) -> None:
        """Stop every process, one after the other."""
        for node in self.nodes:
            await node.controller.stop()
            await node.over.wait()


@asynccontextmanager
async def open_house(nodes: int = 1, policy: Policy = UNLIMITED) -> AsyncIterator[House]:
    """Run a house of `nodes` processes; leaving the block kills those that still run."""
    async with trio.open_nursery() as nursery:
        house = House(nursery, policy)
        for _ in range(nodes):
            await house.add_node()
        yield house
        nursery.cancel_scope.cancel()


def assert_pairs(log: Sequence[Message], *, all_gone: bool = True) -> None:
    """Assert that each member joined once, left at most once, and talked only in between."""
    here: set[str] = set()
    ever: set[str] = set()
    for message in log:
        if message.type is MessageType.JOINED:
            assert message.member_id not in ever, "joined twice"
            here.add(message.member_id)
            ever.add(message.member_id)
        else:
            assert message.member_id in here, f"{message.type} from someone who is not a member"
        if message.type is MessageType.LEFT:
            here.remove(message.member_id)
    assert not (all_gone and here), f"{len(here)} never left"
