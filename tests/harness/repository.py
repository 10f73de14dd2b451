"""A Repository that fails, hangs or loses its answer at the calls that a test chooses."""

from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from sharechat.adapters.memory import MemoryRepository
from sharechat.domain import ids
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import ProcessId, RoomId
from sharechat.domain.messages import Draft, Entry, Message, RoomInfo
from sharechat.domain.ports import Present, Refusal
from tests.harness.repositories import ANY_SIZE

KEY = b"the hash of a key"


class Step:
    """What one call of a Repository method does instead of simply succeeding."""

    def __init__(self, *, hold: bool, error: Exception | None, lost: bool) -> None:
        self.reached = trio.Event()
        """Set once the call has been made."""
        self.released = trio.Event()
        self.error = error
        self.lost = lost
        if not hold:
            self.released.set()

    def release(self) -> None:
        """Let a call that is held continue."""
        self.released.set()


class ScriptedRepository(MemoryRepository):
    """A MemoryRepository that can be unavailable, and whose calls can be scripted."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        """While set, every call raises UnavailableError and has no effect."""
        self.calls: Counter[str] = Counter()
        self.commits: list[list[str]] = []
        """The texts of the drafts of each `append`."""
        self.poison: dict[str, Exception] = {}
        """`append` raises the error if any of its drafts has this text."""
        self.stale_renewals: Mapping[ProcessId, int] | None = None
        """If set, `renew_lease` returns this, as a replica would that has fallen behind."""
        self._steps: defaultdict[str, deque[Step]] = defaultdict(deque)

    def at_next(
        self,
        method: str,
        *,
        hold: bool = False,
        error: Exception | None = None,
        lost: bool = False,
    ) -> Step:
        """Script the next unscripted call of a method.

        With `hold`, it waits for `release` first. With `error`, it raises that and has no
        effect. With `lost`, it takes effect, but its answer is lost.
        """
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

    async def get_rooms(self, room_ids: Collection[RoomId]) -> dict[RoomId, RoomInfo]:
        async with self._call("get_rooms"):
            return await super().get_rooms(room_ids)

    async def append(self, drafts: Sequence[Draft], process_id: ProcessId) -> list[Entry | Refusal]:
        for draft in drafts:
            if draft.text in self.poison:
                raise self.poison[draft.text]
        async with self._call("append"):
            self.commits.append([draft.text for draft in drafts])
            return await super().append(drafts, process_id)

    async def read(self, room_id: RoomId, *, after: int, limit: int, max_bytes: int) -> list[Entry]:
        async with self._call("read"):
            return await super().read(room_id, after=after, limit=limit, max_bytes=max_bytes)

    async def remove_stale_rooms(
        self, age: float, unjoined_age: float | None = None
    ) -> list[RoomId]:
        async with self._call("remove_stale_rooms"):
            return await super().remove_stale_rooms(age, unjoined_age)

    async def open_lease(self, process_id: ProcessId) -> None:
        async with self._call("open_lease"):
            await super().open_lease(process_id)

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        if self.stale_renewals is not None:
            await trio.lowlevel.checkpoint()
            return self.stale_renewals
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

    async def check(self) -> None:
        async with self._call("check"):
            await super().check()

    async def make_room(self) -> RoomId:
        room = RoomInfo(ids.new_room_id(), "Imperfect Seat")
        await self.create_room(room, KEY)
        return room.id

    async def log(self, room_id: RoomId) -> list[Message]:
        """Return the whole log, even while the Repository is away."""
        entries = await MemoryRepository.read(
            self, room_id, after=0, limit=1_000_000, max_bytes=ANY_SIZE
        )
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        return [entry.message for entry in entries]

    async def texts(self, room_id: RoomId) -> list[str]:
        return [message.text for message in await self.log(room_id)]
