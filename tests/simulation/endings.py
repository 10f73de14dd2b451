"""How connections end: with which close frame, in the middle of what, and how soon."""

from collections.abc import Iterator

from sharechat.domain.messages import MessageType
from sharechat.domain.outcomes import NORMAL
from sharechat.net.direct_connection import LONGEST_CLOSE
from tests.simulation.deadlines import stored_at
from tests.simulation.faults import Fault
from tests.simulation.state import ClientState
from tests.simulation.websocket import End
from tests.simulation.world import World


def ends_in_order(world: World, connection: ClientState) -> Iterator[str]:
    if connection.accepted and not connection.process.dead:
        yield from _close_frame_is_meant(connection)
        yield from _nothing_is_cut(connection)
        yield from _client_learns_why(world, connection)
    if connection.accepted:
        yield from _noticed(world, connection)


def _close_frame_is_meant(connection: ClientState) -> Iterator[str]:
    """The close frame has the code that the server meant, or answers the client's."""
    told = connection.websocket.close_frame
    if told is None:
        return
    meant = connection.close or NORMAL
    answer = connection.websocket.closed_first and told == (NORMAL.code, NORMAL.reason)
    if connection.closed_at is None or not (answer or told == (meant.code, meant.reason)):
        yield f"{connection} was told {told}, which the server did not mean: {connection.close}"


def _nothing_is_cut(connection: ClientState) -> Iterator[str]:
    """The stream of a connection that is not reset ends with a whole frame."""
    websocket = connection.websocket
    if websocket.end is End.FINISHED and websocket.in_frame:
        yield f"{connection} ended in the middle of a frame"


def _client_learns_why(world: World, connection: ClientState) -> Iterator[str]:
    """A client that reads everything is sent a close frame, also if it has closed itself."""
    websocket, closed_at = connection.websocket, connection.closed_at
    expects = connection.gone_at is None or websocket.closed_first
    if closed_at is None or connection.dawdled or connection.aborted or not expects:
        return
    frozen = world.faults.between(
        closed_at, closed_at + LONGEST_CLOSE, {Fault.FROZEN}, connection.process.number
    )
    if not frozen and (websocket.close_frame is None or websocket.end is End.RESET):
        end = websocket.end, websocket.close_frame
        yield f"{connection} reads everything, and its connection ended with {end}"


def _noticed(world: World, connection: ClientState) -> Iterator[str]:
    """The server notices in time that a client has gone."""
    gone_at, within = connection.gone_at, connection.noticed_within
    if gone_at is None or connection.accepted_at is None:
        return
    # It reads nothing before the client has joined, or while a text waits for the one before it.
    joined_at = stored_at(world, connection, MessageType.JOINED)
    of_texts = (*(given.at for given in connection.given[-1:]), *connection.settled_at[-1:])
    begins = max(gone_at, connection.accepted_at, joined_at, *of_texts)
    if len(connection.consumed) > connection.settled + connection.storing:
        return
    by = connection.process.calm_from(begins, within) + within
    ends = (connection.noticed_at, connection.closed_at)
    if min((at for at in ends if at is not None), default=float("inf")) > by:
        yield f"{connection} was not known to be gone at {by:.3f}"
