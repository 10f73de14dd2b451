"""What the tests of the actors are built with: fakes of the ports, and small worlds of actors.

Nothing here sleeps in real time: tests run under trio's `autojump_clock`.
"""

import math
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from sharechat.actors.controller import Controller
from sharechat.actors.policy import Policy
from sharechat.adapters.memory import MemoryBus, MemoryQueue, MemoryRepository
from sharechat.domain import messages
from sharechat.domain.errors import ConnectionClosedError, UnavailableError
from sharechat.domain.messages import (
    Batch,
    Draft,
    Entry,
    Identity,
    Message,
    MessageType,
    ProcessId,
    RoomId,
    RoomInfo,
)
from sharechat.domain.outcomes import Close
from sharechat.domain.ports import Present, Refusal

KEY = b"the hash of a key"
UNLIMITED = Policy(message_rate=0)


async def until(true: Callable[[], bool], within: float = 60) -> None:
    """Wait, by the test's clock, until something holds that no event tells of."""
    with trio.fail_after(within):
        while not true():  # noqa: ASYNC110 - there is no event to wait for
            await trio.sleep(0.001)


class FakeConnection:
    """One client. `says` and `hangs_up` are what it does, `received` what it was sent.

    While `stalled` it reads nothing: `send` waits and `send_nowait` would. With `slow` set,
    `send_nowait` always would, as over plain ASGI.
    """

    def __init__(self, *, slow: bool = False) -> None:
        self.slow = slow
        self.received: list[Message] = []
        self.writes = 0
        self.closed = trio.Event()
        self.close: Close | None = None
        self.close_held: trio.Event | None = None
        self.raises: Exception | None = None
        self.read = 0
        self._sending = False
        self._stalled = False
        self._gone = False
        self._changed = trio.Event()
        self._texts, self._inbox = trio.open_memory_channel[str](math.inf)

    def says(self, *texts: str) -> None:
        if self.closed.is_set():
            return  # the client does not know yet
        for text in texts:
            self._texts.send_nowait(text)

    def breaks(self) -> None:
        """Let whoever sends find out that the client has gone; who receives does not yet."""
        self._gone = True

    def hangs_up(self) -> None:
        self.breaks()
        self._texts.close()
        self._change()

    def stalls(self) -> None:
        self._stalled = True

    def reads_on(self) -> None:
        self._stalled = False
        self._change()

    @property
    def texts(self) -> list[str]:
        return [message.text for message in self.received]

    async def hears(self, *texts: str, within: float = 60) -> None:
        """Wait until it has received all of these, in this order, among others."""
        with trio.fail_after(within):
            while not self._has_heard(texts):
                await self._changed.wait()

    def _has_heard(self, texts: Sequence[str]) -> bool:
        heard = iter(self.texts)
        return all(text in heard for text in texts)

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def receive(self) -> str:
        try:
            text = await self._inbox.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise ConnectionClosedError from None
        self.read += 1
        return text

    def send_nowait(self, batch: Batch) -> None:
        assert not self._sending, "send_nowait was called while send runs"
        if self.raises:
            raise self.raises
        if self._gone or self.closed.is_set():
            raise ConnectionClosedError
        if self._stalled or self.slow:
            raise trio.WouldBlock
        self._take([batch])

    async def send(self, batches: Sequence[Batch]) -> None:
        assert not self._sending, "send was called while send runs"
        self._sending = True
        try:
            await trio.lowlevel.checkpoint()
            while self._stalled and not self._gone:
                await self._changed.wait()
        finally:
            self._sending = False
        if self.raises:
            raise self.raises
        if self._gone or self.closed.is_set():
            raise ConnectionClosedError
        self._take(batches)

    def _take(self, batches: Sequence[Batch]) -> None:
        self.writes += 1
        for batch in batches:
            self.received += batch.messages
        self._change()

    async def aclose(self, close: Close | None = None) -> None:
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            if self.close_held is not None:
                await self.close_held.wait()
        if not self.closed.is_set():
            self.close = close
            self.closed.set()
            self._texts.close()
            self._change()


class Step:
    """What one call of a repository method is to do instead of just working."""

    def __init__(self, *, hold: bool, error: Exception | None, lost: bool) -> None:
        self.reached = trio.Event()
        self.released = trio.Event()
        self.error = error
        self.lost = lost
        if not hold:
            self.released.set()

    def release(self) -> None:
        self.released.set()


class Repository(MemoryRepository):
    """A MemoryRepository that can be away, or made to do badly at chosen calls."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.calls: Counter[str] = Counter()
        self.commits: list[list[str]] = []
        self._steps: defaultdict[str, deque[Step]] = defaultdict(deque)

    def at_next(
        self,
        method: str,
        *,
        hold: bool = False,
        error: Exception | None = None,
        lost: bool = False,
    ) -> Step:
        """Say what the next call does: wait for `release`, raise `error` without any effect,
        or work and then lose its answer."""
        step = Step(hold=hold, error=error, lost=lost)
        self._steps[method].append(step)
        return step

    @asynccontextmanager
    async def _call(self, method: str) -> AsyncIterator[None]:
        self.calls[method] += 1
        steps = self._steps[method]
        step = steps.popleft() if steps else Step(hold=False, error=None, lost=False)
        step.reached.set()
        await step.released.wait()
        if step.error:
            raise step.error
        if self.away:
            raise UnavailableError("The Repository is away.")
        yield
        if step.lost:
            raise UnavailableError("The answer was lost.")

    async def get_room(self, room_id: RoomId) -> RoomInfo:
        async with self._call("get_room"):
            return await super().get_room(room_id)

    async def append(self, drafts: Sequence[Draft], process_id: ProcessId) -> list[Entry | Refusal]:
        async with self._call("append"):
            self.commits.append([draft.text for draft in drafts])
            return await super().append(drafts, process_id)

    async def read(self, room_id: RoomId, *, after: int, limit: int) -> list[Entry]:
        async with self._call("read"):
            return await super().read(room_id, after=after, limit=limit)

    async def get_heads(self, room_ids: Collection[RoomId]) -> dict[RoomId, int]:
        async with self._call("get_heads"):
            return await super().get_heads(room_ids)

    async def remove_stale_rooms(self, age: float) -> list[RoomId]:
        async with self._call("remove_stale_rooms"):
            return await super().remove_stale_rooms(age)

    async def open_lease(self, process_id: ProcessId) -> None:
        async with self._call("open_lease"):
            await super().open_lease(process_id)

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        async with self._call("renew_lease"):
            return await super().renew_lease(process_id)

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        async with self._call("end_lease"):
            return await super().end_lease(process_id, renewal)

    async def get_orphans(self) -> list[Present]:
        async with self._call("get_orphans"):
            return await super().get_orphans()

    async def get_members_of(self, process_id: ProcessId) -> list[Present]:
        async with self._call("get_members_of"):
            return await super().get_members_of(process_id)

    async def make_room(self) -> RoomId:
        room = RoomInfo(messages.new_room_id(), "Imperfect Seat")
        await self.create_room(room, KEY)
        return room.id

    async def log(self, room_id: RoomId) -> list[Message]:
        """Return the whole history, even while the Repository is away."""
        entries = await MemoryRepository.read(self, room_id, after=0, limit=1_000_000)
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        return [entry.message for entry in entries]

    async def texts(self, room_id: RoomId) -> list[str]:
        return [message.text for message in await self.log(room_id)]


class Elsewhere:
    """A member of another process: what it does is stored, and nobody here is told of it."""

    def __init__(self, repository: MemoryRepository, room_id: RoomId, name: str = "Fox") -> None:
        self.member = Identity(messages.new_member_id(), name)
        self.process_id = messages.new_process_id()
        self._repository = repository
        self.room_id = room_id

    async def joins(self) -> Entry:
        await MemoryRepository.open_lease(self._repository, self.process_id)
        return (await self._store(messages.joined(self.room_id, self.member)))[0]

    async def says(self, *texts: str) -> list[Entry]:
        return await self._store(*(messages.chat(self.room_id, self.member, t) for t in texts))

    async def _store(self, *drafts: Draft) -> list[Entry]:
        outcomes = await MemoryRepository.append(self._repository, drafts, self.process_id)
        assert all(isinstance(outcome, Entry) for outcome in outcomes), outcomes
        return [outcome for outcome in outcomes if isinstance(outcome, Entry)]


class Visit:
    """One client's visit to a room: its connection, and the task that serves it."""

    def __init__(self, connection: FakeConnection) -> None:
        self.connection = connection
        self.scope = trio.CancelScope()
        self.over = trio.Event()

    async def ends(self, within: float = 60) -> Close | None:
        """Wait until it is served no longer; return how it was closed."""
        with trio.fail_after(within):
            await self.over.wait()
        assert self.connection.closed.is_set()
        return self.connection.close


class Queue(MemoryQueue):
    """A MemoryQueue that may be away, deaf to what is published, or broken."""

    def __init__(self, bus: MemoryBus) -> None:
        super().__init__(bus)
        self.away = False
        self.losing = False
        self.raises: Exception | None = None
        self.published: list[tuple[RoomId, int]] = []

    @property
    def rooms(self) -> set[RoomId]:
        """The rooms that it is subscribed to."""
        return set(self._subscribed)

    def publish(self, room_id: RoomId, entries: Sequence[Entry]) -> None:
        self.published.append((room_id, len(entries)))
        if self.raises:
            raise self.raises
        if not self.losing and not self.away:
            super().publish(room_id, entries)

    def check(self) -> None:
        if self.away:
            raise UnavailableError("The Queue is away.")


class Node:
    """One process: its Controller and its Queue."""

    def __init__(self, repository: Repository, bus: MemoryBus, policy: Policy) -> None:
        self.repository = repository
        self.queue = Queue(bus)
        self.controller = Controller(repository, self.queue, policy)
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.visits: list[Visit] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            await self.controller.run(task_status=task_status)
        self.over.set()

    def hears(self, room_id: RoomId, *entries: Entry) -> None:
        """Bring entries (or none: "look at this room") over the bus, as it pleases the test."""
        assert self.queue._listener is not None
        self.queue._listener.heard(room_id, entries)

    async def serve(self, visit: Visit, info: RoomInfo, after: int | None = None) -> None:
        self.visits.append(visit)
        with visit.scope:
            await self.controller.serve_room(info, visit.connection, after=after)
        visit.over.set()


class House:
    """Some processes over one Repository and one bus; `policy` holds for all."""

    def __init__(self, nursery: trio.Nursery, policy: Policy) -> None:
        self.nursery = nursery
        self.policy = policy
        self.repository = Repository()
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
    ) -> Visit:
        """Begin a visit without waiting for anything that comes of it."""
        info = await self.nodes[node].controller.open_room(room_id)
        visit = Visit(connection or FakeConnection())
        self.nursery.start_soon(self.nodes[node].serve, visit, info, after)
        return visit

    async def join(self, room_id: RoomId, node: int = 0, *, slow: bool = False) -> FakeConnection:
        """Begin a visit and wait until the client has heard that it has joined."""
        visit = await self.visit(room_id, node, connection=FakeConnection(slow=slow))
        await until(lambda: bool(visit.connection.received))
        return visit.connection

    async def stop(self) -> None:
        for node in self.nodes:
            await node.controller.stop()
            await node.over.wait()


@asynccontextmanager
async def open_house(nodes: int = 1, policy: Policy = UNLIMITED) -> AsyncIterator[House]:
    async with trio.open_nursery() as nursery:
        house = House(nursery, policy)
        for _ in range(nodes):
            await house.add_node()
        yield house
        nursery.cancel_scope.cancel()


def assert_pairs(log: Sequence[Message], *, all_gone: bool = True) -> None:
    """Each member joined once, left at most once, and talked in between only."""
    here: set[str] = set()
    ever: set[str] = set()
    for message in log:
        if message.type is MessageType.JOINED:
            assert message.member_id not in ever, "joined twice"
            here.add(message.member_id)
            ever.add(message.member_id)
        else:
            assert message.member_id in here, f"{message.type} of one who is not here"
        if message.type is MessageType.LEFT:
            here.remove(message.member_id)
    assert not (all_gone and here), f"{len(here)} never left"
