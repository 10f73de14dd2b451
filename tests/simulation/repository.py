"""Each process's unreliable connection to the one Repository."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import trio

from sharechat.domain.errors import NotAMemberError, UnavailableError
from sharechat.domain.ids import MessageId, ProcessId, RoomId
from sharechat.domain.messages import Draft, Entry, Identity, MessageType, RoomInfo
from sharechat.domain.ports import Present, Refusal
from tests.simulation.faults import Fault, UnexpectedError
from tests.simulation.state import ProcessState
from tests.simulation.world import World

T = TypeVar("T")

_CALL_SECONDS = 4.0
"""Seconds after which the real adapter gives up on any call."""


_QUERIES = frozenset({"read", "get_rooms", "get_members_of", "get_orphans"})
"""Calls that read many rows."""

_MAX_DECLARATIONS = 5
"""More times than one process needs to learn that it has declared another one dead."""


class _Fate(NamedTuple):
    """What happens to one call."""

    before: float
    """Seconds until it takes effect."""
    after: float
    """Seconds from then until it is answered."""
    takes_effect: bool = True
    """Whether it takes effect."""
    answers: bool = True
    """Whether the caller gets an answer."""
    late: float | None = None
    """Seconds after which it takes effect although the caller was told that it failed."""
    error: type[Exception] = UnavailableError
    """What the caller gets instead of an answer."""

    def __str__(self) -> str:
        defaults = self._field_defaults
        pairs = zip(self._fields, self, strict=True)
        return " ".join(f"{k}={v}" for k, v in pairs if v != defaults.get(k, 0))


_REFUSED = _Fate(0, 0, takes_effect=False, answers=False)
_HANGS = _Fate(_CALL_SECONDS, 0, takes_effect=False, answers=False)


class _Request(Generic[T]):
    """One call on its way to the server and back."""

    def __init__(self, effect: Callable[[], Awaitable[T]]) -> None:
        self.arrived = False
        """Whether it has taken effect, or can no longer take effect."""
        self._effect = effect
        self._result: T
        self._error: Exception | None = None
        self._answered = trio.Event()

    def withdraw(self) -> None:
        """Make sure that it does not take effect any more."""
        self.arrived = True

    async def take_effect(self) -> None:
        """Carry it out at the server, unless that was done before or it was withdrawn."""
        if not self.arrived:
            self.arrived = True
            try:
                self._result = await self._effect()
            except Exception as error:  # noqa: BLE001 - it is raised where the caller waits
                self._error = error

    def answer(self, error: Exception | None) -> None:
        """Let the caller have the result, or an error instead of it."""
        self._error = error or self._error
        self._answered.set()

    async def answered(self) -> T:
        """Wait for the answer, and return or raise what it is."""
        await self._answered.wait()
        if self._error is not None:
            raise self._error
        return self._result


class SimRepository:
    """The port `Repository` over the Truth; the active faults decide what becomes of a call."""

    def __init__(self, world: World, process: ProcessState) -> None:
        self._world = world
        self._process = process
        self._rng = world.rng(f"repository {process.number}")
        self._declared_dead: Counter[ProcessId] = Counter()

    async def _call(self, name: str, effect: Callable[[], Awaitable[T]]) -> T:
        self._world.count_call()
        began = trio.current_time()
        fate = None
        try:
            await self._process.halt_if_dead()
            fate = self._fate(name)
            if fate is None:
                return await effect()
            self._world.note(name, self._process.number, fate)
            self._world.unfinished += 1
            request = _Request(effect)
            self._world.nursery.start_soon(self._handle, request, fate)
            try:
                return await request.answered()
            except trio.Cancelled:
                self._give_up(request, fate)
                await self._cancel_slowly()
                raise
        finally:
            now = trio.current_time()
            if fate is not None or now > began:
                # An actor that fails is started again after a second.
                restart = 0 if fate is None or fate.error is UnavailableError else 1
                self._process.disturbed.append((began, now + restart))

    async def _cancel_slowly(self) -> None:
        """Take some time to cancel a query on the server, as the real adapter does."""
        if self._world.faults.now(Fault.SLOW, self._process.number) and not self._process.dead:
            with trio.CancelScope(shield=True):
                await trio.sleep(self._rng.choice((0.1, 0.5, 0.5)))

    async def _handle(self, request: "_Request[T]", fate: _Fate) -> None:
        """Do what the server does with a request, whether or not its process runs meanwhile."""
        await trio.sleep(fate.before)
        if fate.takes_effect:
            await request.take_effect()
        await trio.sleep(fate.after)
        error = fate.error("The simulated Repository is away.")
        request.answer(None if fate.answers else error)
        if fate.late is not None:
            self._world.faults.begin(Fault.LATE, None, fate.late)
            await trio.sleep(fate.late)
            await request.take_effect()
        self._world.unfinished -= 1

    def _give_up(self, request: "_Request[T]", fate: _Fate) -> None:
        """The caller was cancelled; the request may arrive all the same."""
        if not request.arrived:
            if self._rng.random() < 0.5:
                self._world.faults.begin(Fault.LATE, None, fate.before)
            else:
                request.withdraw()

    def _fate(self, name: str) -> _Fate | None:
        """Return what the active faults do to a call now, or None if it just works."""
        faults, number, rng = self._world.faults, self._process.number, self._rng
        if away := faults.now(Fault.OUTAGE, number) or faults.now(Fault.SEVERED, number):
            return self._hang(away.end) if away.strength else self._refuse(away.end)
        if faults.now(Fault.ERRORS, number) and rng.random() < 0.3:
            return _REFUSED._replace(takes_effect=rng.random() < 0.3, error=UnexpectedError)
        slow = faults.now(Fault.SLOW, number)
        if slow and (slow.strength < 3 or name in _QUERIES) and rng.random() < 0.7:
            share = (0.1, 0.4, 1.0)[slow.strength % 3] * _CALL_SECONDS / 2
            return _Fate(rng.uniform(0, share), rng.uniform(0, share))
        chaos = faults.now(Fault.CHAOS, number)
        if chaos is None or rng.random() > (0.1, 0.3, 0.6)[chaos.strength]:
            return None
        before, after = rng.choice((0.0, 0.004, 0.1, 1.0)), rng.choice((0.0, 0.004, 0.1, 1.0))
        match rng.randrange(4):
            case 0:
                return _Fate(before, after)
            case 1:
                return _Fate(before, after, takes_effect=False, answers=False)
            case 2:
                return _Fate(before, after, answers=False)
            case _:
                late = rng.choice((0.0, 0.01, 0.25, 2.0, 6.0, 15.0))
                return _Fate(before, after, takes_effect=False, answers=False, late=late)

    def _refuse(self, until: float) -> _Fate:
        """Fail immediately; a request that was on its way may arrive long afterwards."""
        if self._rng.random() < 0.9:
            return _REFUSED
        left = until - trio.current_time()
        return _REFUSED._replace(late=left + self._rng.choice((0.01, 0.3, 1.0, 6.0)))

    def _hang(self, until: float) -> _Fate:
        """Time out; the request may arrive once the connection works again."""
        if self._rng.random() < 0.7:
            return _HANGS
        late = max(0.0, until - trio.current_time() - _CALL_SECONDS)
        return _HANGS._replace(late=late + self._rng.choice((0.0, 0.01, 1.0)))

    async def create_room(self, room: RoomInfo, key_hash: bytes) -> None:
        truth = self._world.truth
        await self._call("create_room", partial(truth.create_room, room, key_hash))

    async def get_rooms(self, room_ids: Collection[RoomId]) -> dict[RoomId, RoomInfo]:
        truth = self._world.truth
        return await self._call("get_rooms", partial(truth.get_rooms, list(room_ids)))

    async def delete_room(self, room_id: RoomId, key_hash: bytes) -> None:
        truth = self._world.truth
        await self._call("delete_room", partial(truth.delete_room, room_id, key_hash))

    async def get_members(self, room_id: RoomId) -> list[Identity]:
        return await self._call("get_members", partial(self._world.truth.get_members, room_id))

    async def append(self, drafts: Sequence[Draft], process_id: ProcessId) -> list[Entry | Refusal]:
        append = partial(self._world.truth.append, list(drafts), process_id)
        answers = await self._call("append", append)
        for draft, answer in zip(drafts, answers, strict=True):
            if isinstance(answer, Entry):
                self._process.learn(draft.room_id, answer.seq)
            elif self._left_too_early(draft, answer):
                who = self._world.member[draft.member.id]
                self._world.report_violation(f"{who} left before {draft.text!r} was stored")
        return answers

    def _left_too_early(self, draft: Draft, refusal: Refusal) -> bool:
        """Return whether a text was refused because this process had stored the `left` before."""
        if draft.type is not MessageType.CHAT or not isinstance(refusal, NotAMemberError):
            return False
        # Without a lease its members are orphans, which any Janitor makes leave, even its own.
        through = self._world.truth.left_through.get(draft.member.id)
        return through == self._process.number and self._process.lost_lease_at is None

    async def read(self, room_id: RoomId, *, after: int, limit: int, max_bytes: int) -> list[Entry]:
        truth = self._world.truth
        read = partial(truth.read, room_id, after=after, limit=limit, max_bytes=max_bytes)
        return await self._call("read", read)

    async def find(self, room_id: RoomId, message_id: MessageId) -> int:
        return await self._call("find", partial(self._world.truth.find, room_id, message_id))

    async def remove_stale_rooms(
        self, age: float, unjoined_age: float | None = None
    ) -> list[RoomId]:
        remove = partial(self._world.truth.remove_stale_rooms, age, unjoined_age)
        return await self._call("remove_stale_rooms", remove)

    async def open_lease(self, process_id: ProcessId) -> None:
        self._world.process_of[process_id] = self._process
        self._process.lease_id = process_id
        await self._call("open_lease", partial(self._world.truth.open_lease, process_id))

    async def renew_lease(self, process_id: ProcessId) -> Mapping[ProcessId, int]:
        return await self._call("renew_lease", partial(self._world.truth.renew_lease, process_id))

    async def end_lease(self, process_id: ProcessId, renewal: int | None = None) -> bool:
        truth = self._world.truth
        ended = await self._call("end_lease", partial(truth.end_lease, process_id, renewal))
        if ended and renewal is not None:
            self._declared_dead[process_id] += 1
            if self._declared_dead[process_id] == _MAX_DECLARATIONS:
                self._world.report_violation(f"{process_id} is declared dead over and over")
        return ended

    async def get_orphans(self) -> list[Present]:
        return await self._call("get_orphans", self._world.truth.get_orphans)

    async def get_members_of(self, process_id: ProcessId) -> list[Present]:
        truth = self._world.truth
        return await self._call("get_members_of", partial(truth.get_members_of, process_id))

    async def check(self) -> None:
        await self._call("check", self._world.truth.check)
