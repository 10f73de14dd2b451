"""What a request tells about whom it comes from."""

from typing import NamedTuple

from quart.wrappers.base import BaseRequestWebsocket


class Peer(NamedTuple):
    """The address at the other end of the connection, and what it says of those before it."""

    address: str
    """Empty if it uses a Unix socket."""
    forwarded_for: list[str]
    forwarded: list[str]


def peer_of(request: BaseRequestWebsocket) -> Peer:
    """Return the peer that sent a request or a websocket's handshake."""
    address, _ = request.scope.get("client") or ("", 0)
    headers = request.headers
    return Peer(address, headers.getlist("X-Forwarded-For"), headers.getlist("Forwarded"))
