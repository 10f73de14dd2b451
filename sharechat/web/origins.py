"""Which web pages may use the server from a browser, and under which names it is reached."""

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from quart import Quart, Response, request, websocket
from quart.wrappers.base import BaseRequestWebsocket

from sharechat.domain.outcomes import HOST_NOT_ALLOWED, ORIGIN_NOT_ALLOWED
from sharechat.web.problems import ProblemError
from sharechat.web.rest import ROOM_KEY_HEADER

_DEFAULT_PORTS = {"http": 80, "https": 443}

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""They change nothing, and CORS decides which pages may read the answer."""

_READABLE = ", ".join(("Link", "Retry-After", ROOM_KEY_HEADER))
"""The headers that such a page may read besides those that any page may."""


def install(app: Quart, allowed_origins: Collection[str], allowed_hosts: Collection[str]) -> None:
    """Refuse requests and handshakes from pages that may not send them.

    Every answer, a problem too, tells the browser whether a page of the allowed origins may
    read it (CORS). The server's own pages need no permission.
    """

    def check(sent: BaseRequestWebsocket, *, safe: bool) -> None:
        host = sent.headers.get("Host", "")
        local, _ = sent.scope.get("server") or ("", None)
        if not is_host_allowed(host, local, allowed_hosts):
            raise ProblemError(
                HOST_NOT_ALLOWED, f"This server is not known as {host}; see --allowed-host."
            )
        origin = sent.headers.get("Origin")
        secure = sent.scheme in ("https", "wss")
        if not (safe or is_allowed(origin, host, allowed_origins, secure=secure)):
            raise ProblemError(ORIGIN_NOT_ALLOWED, f"Pages of {origin} may not use this server.")

    @app.before_request
    async def check_request() -> None:
        check(request, safe=request.method in _SAFE_METHODS)

    @app.before_websocket
    async def check_handshake() -> None:
        check(websocket, safe=False)

    @app.after_request
    async def share(response: Response) -> Response:
        _share(response, allowed_origins)
        return response


def _share(response: Response, allowed: Collection[str]) -> None:
    origin = request.headers.get("Origin", "")
    if "*" in allowed:
        readable_by = "*"
    elif allowed:
        response.vary.add("Origin")
        readable_by = origin if origin.lower() in allowed else ""
    else:
        readable_by = ""
    if not readable_by:
        return
    response.headers["Access-Control-Allow-Origin"] = readable_by
    response.headers["Access-Control-Expose-Headers"] = _READABLE
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        # What the route has, as Quart's own answer to OPTIONS shows it.
        response.headers["Access-Control-Allow-Methods"] = response.headers.get("Allow", "")
        response.headers["Access-Control-Allow-Headers"] = "Authorization"


def is_allowed(
    origin: str | None, host: str, allowed: Collection[str], *, secure: bool = False
) -> bool:
    """Return whether a handshake or a change with these Origin and Host headers is accepted.

    A client without an Origin is not a browser (RFC 6455, section 10.2); it is accepted, since
    it could claim any origin. `host` is the name that the client uses for this server, and
    `secure` tells that TLS ends in this process. Then a page that came in the clear, and may be
    anybody's, is no page of this server. Otherwise TLS may end in front of it, and the scheme is
    not compared.
    """
    if origin is None or "*" in allowed or origin.lower() in allowed:
        return True
    try:
        theirs = urlsplit(origin)
        ours = urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(theirs.scheme)
        return (
            default is not None
            and (theirs.scheme == "https" or not secure)
            and theirs.hostname is not None
            and theirs.hostname == ours.hostname
            and (theirs.port or default) == (ours.port or default)
        )
    except ValueError:  # An invalid port.
        return False


def is_host_allowed(host: str, local: str, allowed: Collection[str]) -> bool:
    """Return whether a request with this Host header that came to the address `local` is served.

    Anybody can make a name of theirs stand for this machine, and with it their pages share an
    origin with this server (DNS rebinding). So a name must be in `allowed` or, if that is
    empty, `local` must not be a loopback address, to which only this machine's browsers have
    access. Nobody can do that to an IP address or to localhost, which are always allowed.
    """
    if not host or "*" in allowed:
        return True
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:  # Brackets that do not close.
        name = ""
    if name in allowed or name == "localhost" or name.endswith(".localhost") or _is_address(name):
        return True
    return not allowed and not _is_loopback(local)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(local: str) -> bool:
    if not _is_address(local):
        return False  # It is the path of a Unix socket.
    address = ip_address(local)
    # Not every Python finds that 127.0.0.1 in IPv6 form is a loopback address.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
