"""A Redis in memory that speaks the protocol, over the simulated network."""

import errno
import math
from collections.abc import Iterator, Sequence

import trio

from sharechat.adapters.redis import open_queue
from sharechat.adapters.redis.protocol import pack
from sharechat.adapters.redis.url import Endpoint
from sharechat.domain.ports import Queue
from tests.simulation.conditions import Conditions
from tests.simulation.faults import Disturbance, Fault
from tests.simulation.network import Network
from tests.simulation.redis_session import Session
from tests.simulation.schedule import Schedule
from tests.simulation.state import ProcessState
from tests.simulation.world import World

PROBE_INTERVAL = 3.0
"""Seconds between two probes of each process."""

TIMEOUT = 3.0
"""Seconds that a process waits for its probe, and for each step of connecting."""

_INTRUSION_INTERVAL = 1.0
"""Seconds between two messages of a client that is none of the processes."""

_BLACK_HOLE = 0.4
"""How likely a silent cut is to end a connection for good without a sign."""


class SimRedis:
    """The bus between the processes: each one's RedisQueue is connected to this server."""

    def __init__(self, world: World, conditions: Conditions) -> None:
        self._conditions = conditions
        self.network = Network(world, Schedule(), self._conditions)
        self._world = world
        self._sessions: list[Session] = []
        # All sessions ever, since what was sent on a closed connection may still arrive.
        self._all: list[Session] = []
        self._frozen: Disturbance | None = None
        self._down: Disturbance | None = None
        self._restored = trio.lowlevel.ParkingLot()

    def connect(self, process: ProcessState) -> Queue:
        if self._conditions != Conditions():
            self._world.faults.begin(Fault.OVERLOAD, process.number, math.inf)

        async def open_stream(_endpoint: Endpoint) -> trio.abc.Stream:
            return await self._open_stream(process)

        return open_queue(
            "redis://simulated",
            probe_interval=PROBE_INTERVAL,
            timeout=TIMEOUT,
            buffer_size=self._conditions.send_buffer,
            open_stream=open_stream,
            random=self._world.rng(f"queue {process.number}"),
        )

    async def _open_stream(self, process: ProcessState) -> trio.abc.Stream:
        await process.halt_if_dead()
        await trio.sleep(self._conditions.latency + self._conditions.latency_back)
        while any(self.network.cut(process, incoming=incoming) for incoming in (True, False)):
            await self._restored.park()
        if self.network.refuses(process) or _lasts(self._down):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        session = Session(self, process)
        self._sessions.append(session)
        self._all.append(session)
        return session.stream

    async def run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.network.schedule.run)
                if self._conditions.stranger:
                    nursery.start_soon(self._intrude, b":probe:")
        finally:
            for session in self._all:
                if not session.stream.closed:
                    number = session.process.number
                    self._world.report_violation(f"process {number} left a connection open")

    # What a server does.

    def serves(self, session: Session) -> bool:
        """Return whether Redis handles the commands of a connection now."""
        return session in self._sessions and not _lasts(self._frozen)

    def execute(self, session: Session, words: Sequence[bytes]) -> None:
        """Carry out a command that arrived on a connection."""
        match words:
            case [b"CLIENT", b"SETNAME", name]:
                session.name = name
                session.reply(b"+OK\r\n")
            case [b"SUBSCRIBE", *channels]:
                for channel in channels:
                    session.channels[channel] = None
                    session.reply(_confirmation(b"subscribe", channel, len(session.channels)))
            case [b"UNSUBSCRIBE", *channels]:
                for channel in channels:
                    session.channels.pop(channel, None)
                    session.reply(_confirmation(b"unsubscribe", channel, len(session.channels)))
            case [b"PUBLISH", channel, payload]:
                session.reply(b":%d\r\n" % self._publish(channel, payload))
            case _:
                session.reply(b"-ERR unknown command\r\n")
                self._world.report_violation(f"Redis was sent {words!r}")

    def _publish(self, channel: bytes, payload: bytes) -> int:
        subscribers = [session for session in self._sessions if channel in session.channels]
        message = pack((b"message", channel, payload))
        for session in subscribers:
            session.reply(message)
        return len(subscribers)

    def forget(self, session: Session) -> None:
        """No longer serve a connection."""
        if session in self._sessions:
            self._sessions.remove(session)

    # What can happen to it.

    def cut(self, cut: Disturbance) -> None:
        """Let a cut begin. A loud one resets connections, a silent one may swallow them."""
        for session in [s for s in self._sessions if cut.affects(s.process.number)]:
            if cut.strength:
                session.reset()
            elif self.network.rng.random() < _BLACK_HOLE:
                session.lose()

    def restore(self) -> None:
        """Go on after a fault has ended."""
        self._restored.unpark_all()
        for session in self._all:
            session.outgoing.resume()
            session.incoming.resume()
        for session in list(self._sessions):
            session.serve()

    def disturb(self, process: ProcessState, kind: int, seconds: float) -> None:
        """Let one of eight things happen to Redis, or to the connections of one process."""
        faults, number = self._world.faults, process.number
        publisher, subscriber = b"sharechat-publisher", b"sharechat-subscriber"
        match kind:
            case 0:
                self._down = faults.begin(Fault.REDIS, None, min(seconds, 3))
                for session in list(self._sessions):
                    session.end_or_reset()
            case 1:
                self._frozen = faults.begin(Fault.REDIS, None, seconds)
                self._world.later(seconds, self.restore)
            case 2:
                intrusion = faults.begin(Fault.REDIS, None, seconds)
                self._world.nursery.start_soon(self._intrude, b":room:", intrusion)
            case 3 | 4:
                faults.begin(Fault.REDIS, number, 0)
                for session in self._sessions_of(process, (publisher, subscriber)[kind - 3]):
                    session.end_or_reset()
            case 5 | 6:
                faults.begin(Fault.REDIS, number, 0)
                for session in self._sessions_of(process, (publisher, subscriber)[kind - 5]):
                    session.lose()
            case _:
                faults.begin(Fault.REDIS, number, 0)
                for session in self._sessions_of(process, subscriber):
                    session.channels.clear()

    def _sessions_of(self, process: ProcessState, name: bytes) -> Iterator[Session]:
        for session in list(self._sessions):
            if session.process is process and session.name == name:
                yield session

    async def _intrude(self, kind: bytes, fault: Disturbance | None = None) -> None:
        """Publish what no process would, on all channels of a kind, as a stranger could."""
        while fault is None or _lasts(fault):
            await trio.sleep(_INTRUSION_INTERVAL)
            channels = dict.fromkeys(c for s in self._sessions for c in s.channels if kind in c)
            for channel in channels if not _lasts(self._frozen) else ():
                self._publish(channel, b"not what is expected")


def _lasts(fault: Disturbance | None) -> bool:
    return fault is not None and fault.end > trio.current_time()


def _confirmation(kind: bytes, channel: bytes, count: int) -> bytes:
    words = (b"$%d\r\n%s\r\n" % (len(word), word) for word in (kind, channel))
    return b"*3\r\n" + b"".join(words) + b":%d\r\n" % count
