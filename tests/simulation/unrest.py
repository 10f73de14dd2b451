"""Whether all that has to happen has happened."""

from collections.abc import Iterator

from tests.simulation.client import SimConnection
from tests.simulation.world import World


def unrest(world: World) -> str:
    """Return why the world is not at rest, or nothing.

    At rest the members are those who are connected, whoever reads has heard all there is,
    and the server waits for everybody's next word.
    """
    return "; ".join(_reasons(world))


def _reasons(world: World) -> Iterator[str]:
    if world.late:
        yield f"{world.late} calls are under way"
    for process in world.processes:
        if not process.up and not process.over.is_set():
            yield f"process {process.number} is on its way"
    for connection in world.connections:
        if connection.closed_at is None and not (connection.accepted and connection.here):
            yield f"{connection} is coming or going"
    here = [c for c in world.connections if c.here and c.process.up]
    members, stored = {c.member_id for c in here}, world.truth.members
    if ghosts := stored - members:
        yield f"members who are not here: {sorted(ghosts)}"
    if strangers := members - stored:
        yield f"here without being members: {sorted(map(str, strangers))}"
    for connection in here:
        yield from _unrest_of(world, connection)


def _unrest_of(world: World, connection: SimConnection) -> Iterator[str]:
    if not connection.reads:
        return
    log = world.truth.log[connection.room_id]
    if not log or log[-1].entry.message.id != connection.last_heard:
        yield f"{connection} has not heard the end of {connection.room_id}"
    if connection.unanswered:
        yield f"{connection} is not listened to"
