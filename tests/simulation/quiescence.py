"""Whether everything that has to happen has happened."""

from collections.abc import Iterator

from tests.simulation.state import ClientState
from tests.simulation.world import World


def why_not_quiescent(world: World) -> str:
    """Return why the world is not quiescent, or an empty string if it is.

    It is quiescent when the stored members are those who are connected, every client that reads
    has heard the whole log, the server waits for each client's next text, and whoever chooses ids
    has been told what became of each message, and that all of them are stored.
    """
    return "; ".join(_reasons(world))


def _reasons(world: World) -> Iterator[str]:
    if world.unfinished:
        yield f"{world.unfinished} calls are unfinished"
    for process in world.processes:
        if not process.up and not process.over.is_set():
            yield f"process {process.number} is starting or stopping"
    for connection in world.connections:
        if connection.closed_at is None and not (connection.accepted and connection.here):
            yield f"{connection} is being opened or closed"
    here = [c for c in world.connections if c.here and c.process.up]
    connected = {c.member_id for c in here}
    stored = world.truth.members
    if ghosts := stored - connected:
        yield f"members who are not connected: {sorted(ghosts)}"
    if strangers := connected - stored:
        yield f"connected without being members: {sorted(map(str, strangers))}"
    for connection in here:
        if connection.room_id not in connection.process.subscribed:
            yield f"{connection} is in a room that its process is not subscribed to"
        yield from _reasons_of_client(world, connection)
    for author in world.authors:
        client = author.connection
        reads = client is not None and (client.reads or not client.here)
        if author.kept and reads and author.room_id not in world.dead_rooms:
            yield f"{author} does not know whether {list(author.kept)} are stored"


def _reasons_of_client(world: World, connection: ClientState) -> Iterator[str]:
    if not connection.reads:
        return
    log = world.truth.log[connection.room_id]
    if not log or log[-1].entry.message.id != connection.last_heard:
        yield f"{connection} has not heard the end of {connection.room_id}"
    if connection.websocket.awaits_pong:
        yield f"a ping of {connection} was not answered"
    if connection.unanswered:
        yield f"the server has not received or finished all texts of {connection}"
    if connection.awaited:
        yield f"{connection} has heard nothing of {sorted(connection.awaited)}"
