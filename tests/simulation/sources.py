"""Ids, names and times that repeat exactly, and who they were made for."""

from datetime import datetime

from sharechat.domain.ids import MemberId, MessageId, ProcessId
from sharechat.domain.sources import Sources
from tests.simulation.state import serving
from tests.simulation.world import World, utc_now


class SimSources(Sources):
    """One process's sources; all processes of a world share its counters."""

    def __init__(self, world: World) -> None:
        self._world = world

    def process_id(self) -> ProcessId:
        return ProcessId(f"process-{next(self._world.process_ids)}")

    def message_id(self) -> MessageId:
        id_ = MessageId(f"message-{next(self._world.message_ids):04}")
        # A member asks for the id of a text as soon as it has received the text.
        connection = serving.get(None)
        if connection is not None and connection.consumed:
            self._world.said[id_] = connection.consumed[-1]
        return id_

    def member_id(self) -> MemberId:
        id_ = MemberId(f"member-{next(self._world.member_ids)}")
        connection = serving.get()
        connection.member_id = id_
        self._world.member[id_] = connection
        return id_

    def member_name(self) -> str:
        return "Teal Heron"

    def now(self) -> datetime:
        return utc_now()
