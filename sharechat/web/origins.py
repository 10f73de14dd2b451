"""Which web pages may use the server from a browser."""

from collections.abc import Collection
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_allowed(origin: str | None, host: str, allowed: Collection[str]) -> bool:
    """Return whether a websocket with these Origin and Host headers is accepted.

    A client without an Origin is not a browser (RFC 6455, section 10.2); it is accepted, since
    it could claim any origin. `host` is the name that the client uses for this server. The
    scheme is not compared, because TLS may end in front of the server.
    """
    if origin is None or "*" in allowed or origin.lower() in allowed:
        return True
    try:
        theirs = urlsplit(origin)
        ours = urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(theirs.scheme)
        return (
            default is not None
            and theirs.hostname is not None
            and theirs.hostname == ours.hostname
            and (theirs.port or default) == (ours.port or default)
        )
    except ValueError:  # An invalid port.
        return False
