"""The authors of one history: who joins, says something, goes, and comes back."""

from collections.abc import Sequence

import trio

from sharechat.domain.ids import MessageId, RoomId
from tests.simulation.authors import Author, Speaker
from tests.simulation.client import Reading, SimClient
from tests.simulation.history import DURATIONS, Action, Op
from tests.simulation.process import SimProcess
from tests.simulation.truth import POISON
from tests.simulation.world import World

_PACE = 0.15
"""Seconds between two messages that a client reads who catches up."""

_RETRY_INTERVAL = 1.0
"""Seconds between two attempts to have everything acknowledged in the end."""


class Crowd:
    """Moves the clients; which process serves one is up to the Director."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._clients: list[SimClient] = []
        # Each author's newest connection.
        self._client_of: dict[Author, SimClient] = {}

    def join(self, process: SimProcess, room: int, kind: int) -> None:
        """Make a new client of some kind join a room."""
        author = self._new_author(self._room(room), speaks_plainly=kind % 3 == 0)
        self._connect(author, process, always_waits=kind % 8 == 7)

    def come_back(self, process: SimProcess, variant: int) -> None:
        """Make an author lose its connection, if it has one, and come back to hear the rest."""
        candidates = [
            author
            for author in self._client_of
            if author.room_id in self._world.rooms and (author.last_heard or author.chooses_ids)
        ]
        if not candidates:
            return
        author = candidates[variant % len(candidates)]
        self._client_of[author].vanishes(DURATIONS[variant % len(DURATIONS)])
        forgets = author.chooses_ids and variant // 8 % 4 == 3
        self._connect(author, process, after=None if forgets else author.last_heard)

    def catch_up(self, process: SimProcess, variant: int) -> None:
        """Make a client come back after a long time, and read slowly but steadily."""
        room_id = self._room(variant)
        log = self._world.truth.log[room_id]
        if log:
            after = log[variant // len(self._world.rooms) % len(log)].entry.message.id
            author = self._new_author(room_id, speaks_plainly=True)
            self._connect(author, process, after=after, pace=_PACE)

    def _room(self, variant: int) -> RoomId:
        return self._world.rooms[variant % len(self._world.rooms)]

    def _new_author(self, room_id: RoomId, *, speaks_plainly: bool) -> Author:
        make = Author if speaks_plainly else Speaker
        return make(self._world, room_id)

    def _connect(
        self,
        author: Author,
        process: SimProcess,
        *,
        after: MessageId | None = None,
        always_waits: bool = False,
        pace: float | None = None,
    ) -> None:
        client = SimClient(
            self._world, process, author, after=after, always_waits=always_waits, pace=pace
        )
        self._clients.append(client)
        self._client_of[author] = client
        client.says_again()
        process.visit(client)

    def act(self, op: Op, duration: float) -> None:
        """Make one of the connected clients do something."""
        here = [client for client in self._clients if client.here]
        if not here:
            return
        client = here[op.target % len(here)]
        match op.action:
            case Action.TALK:
                client.says(op.variant % 5 + 1)
            case Action.BURST:
                client.says(op.variant % 16 + 1)
            case Action.BAD_TEXT:
                client.says_badly(("\0", POISON)[op.variant % 2])
                client.says(op.variant % 3)
            case Action.MALFORMED:
                client.says_malformed(op.variant)
                client.says(op.variant % 3)
            case Action.REPEAT:
                for _ in range(op.variant % 2 + 1):
                    client.repeats(op.variant // 2)
            case Action.LAST_WORDS:
                client.says(op.variant % 8 + 1)
                if op.variant < 48:
                    client.closes()
                else:
                    client.resets()
            case Action.CLOSE:
                client.closes()
            case Action.VANISH:
                client.vanishes(duration)
            case Action.RESET:
                client.resets()
            case Action.FALL_SILENT:
                client.vanishes(None)
            case Action.STALL:
                client.reads_as(Reading.STALLED)
            case Action.DAWDLE:
                client.dawdles(max(0.05, duration / 20))
            case Action.CRAWL:
                client.dawdles(op.variant % 8 + 1, size=op.variant // 8 * 5 + 1)
            case Action.READ_ON:
                client.reads_as(Reading.EAGER)

    async def insist(self, processes: Sequence[SimProcess]) -> None:
        """Have all authors come back and speak until everything is acknowledged."""
        while True:
            for author in list(self._client_of):
                if author.kept and author.room_id not in self._world.dead_rooms:
                    self._insist(author, processes)
            await trio.sleep(_RETRY_INTERVAL)

    def _insist(self, author: Author, processes: Sequence[SimProcess]) -> None:
        client = self._client_of[author]
        up = [process for process in processes if process.up]
        if not client.here and up:
            self._connect(author, up[author.number % len(up)], after=author.last_heard)
        elif client.here and author.failed and not client.unanswered:
            client.says_again(failed=True)
