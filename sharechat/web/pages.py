"""The page: what a person gets who opens the server's address in a browser."""

import gzip
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import segno
from quart import Blueprint, Response, request

from sharechat.domain.errors import RoomNotFoundError
from sharechat.domain.ids import parse_room_id
from sharechat.domain.outcomes import BAD_QUERY
from sharechat.web.problems import ProblemError

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webmanifest": "application/manifest+json",
}
"""The files that are served, by how their names end. Others, such as types, are not."""

_DOCUMENTS = ("html", "webmanifest")
"""What is served under a name that stays; `{base}` in it becomes the folder of all others."""

_FOREVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"

_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",  # The icon with a dot is drawn by the page.
            "connect-src 'self'",  # Websockets of the same origin, too.
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    # A room's address is what lets people in, so no link may tell it.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_HOST = re.compile(r"([\w.-]{1,253}|\[[\da-f:.]{2,45}\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class _File:
    """A file as it is sent, plain and compressed."""

    body: bytes
    compressed: bytes
    content_type: str
    etag: str
    cache_control: str

    @classmethod
    def of(cls, name: str, body: bytes, cache_control: str) -> "_File":
        return cls(
            body,
            gzip.compress(body, 9, mtime=0),
            _TYPES[_ending(name)],
            _digest(body),
            cache_control,
        )

    def respond(self, status: int = 200) -> Response:
        """Return the answer to a GET: 304 without a body if the client has the file."""
        zipped = request.accept_encodings["gzip"] > 0
        # Two encodings are two representations (RFC 9110, section 8.8.3.3).
        etag = f"{self.etag}-gzip" if zipped else self.etag
        if status == 200 and request.if_none_match.contains_weak(etag):
            response = Response(b"", status=304)
            # They would be about the file itself (RFC 9110, section 15.4.5).
            del response.headers["Content-Type"], response.headers["Content-Length"]
        else:
            body = self.compressed if zipped else self.body
            response = Response(body, status=status, content_type=self.content_type)
            if zipped:
                response.headers["Content-Encoding"] = "gzip"
        response.set_etag(etag)
        response.headers["Cache-Control"] = self.cache_control
        response.vary.add("Accept-Encoding")
        return response


class Site:
    """All files of the page, read and compressed once."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        """Take the contents of the files by their names."""
        served = {name: body for name, body in contents.items() if _ending(name) in _TYPES}
        # One hash for all, so that the modules can import one another by relative addresses.
        whole = (name.encode() + b"\0" + body for name, body in sorted(served.items()))
        self.hash = _digest(*whole)
        base = f"/static/{self.hash}".encode()
        self.documents = {
            name: _File.of(name, body.replace(b"{base}", base), _ASK_AGAIN)
            for name, body in served.items()
            if _ending(name) in _DOCUMENTS
        }
        self.static = {
            name: _File.of(name, body, _FOREVER)
            for name, body in served.items()
            if name not in self.documents
        }

    @classmethod
    def from_package(cls) -> "Site":
        folder = files("sharechat.web") / "static"
        return cls({entry.name: entry.read_bytes() for entry in folder.iterdir()})


def pages(site: Site) -> Blueprint:
    """Return the routes of the page."""
    blueprint = Blueprint("pages", __name__)

    @blueprint.get("/")
    async def home() -> Response:
        return site.documents["home.html"].respond()

    @blueprint.get("/room/<room_id>", strict_slashes=False)
    async def room(room_id: str) -> Response:
        """Answer for any id that a room could have: the page itself says if there is no room."""
        try:
            parse_room_id(room_id)
        except RoomNotFoundError:
            return site.documents["room.html"].respond(404)
        return site.documents["room.html"].respond()

    @blueprint.get("/room/<room_id>/qr.svg")
    async def qr_code(room_id: str) -> Response:
        room_id = parse_room_id(room_id)
        return Response(_qr_code(f"{_origin()}/room/{room_id}"), content_type=_TYPES["svg"])

    @blueprint.get("/static/<version>/<name>")
    async def static(version: str, name: str) -> Response:
        file = site.static.get(name)
        if file is None:
            return Response("There is no such file.\n", status=404, content_type="text/plain")
        response = file.respond()
        if version != site.hash:
            # While a deployment replaces the servers, the document may be of another version.
            response.headers["Cache-Control"] = _ASK_AGAIN
        return response

    @blueprint.get("/manifest.webmanifest")
    async def manifest() -> Response:
        return site.documents["manifest.webmanifest"].respond()

    @blueprint.get("/favicon.ico")
    async def favicon() -> Response:
        """Answer browsers that ask for this name whatever the document says."""
        response = site.static["icon.svg"].respond()
        response.headers["Cache-Control"] = _ASK_AGAIN
        return response

    @blueprint.after_request
    async def protect(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response

    return blueprint


def _origin() -> str:
    """Return the origin under which the client reaches this server.

    TLS may end in front of the server, where only the client knows of it; so a page tells the
    scheme of its own address in `?scheme=`. Raises ProblemError.
    """
    scheme = request.args.get("scheme", request.scheme)
    host = request.headers.get("Host", "")
    if scheme not in ("http", "https"):
        raise ProblemError(BAD_QUERY, "'scheme' must be http or https.")
    if not _HOST.fullmatch(host):
        raise ProblemError(BAD_QUERY, "The Host header is not a name or an address.")
    return f"{scheme}://{host}"


def _qr_code(text: str) -> bytes:
    """Return an SVG: black on white, with a margin, so that it can be scanned in dark mode."""
    svg = io.BytesIO()
    code = segno.make_qr(text, error="m")
    code.save(svg, kind="svg", xmldecl=False, border=4, dark="#000", light="#fff", omitsize=True)
    return svg.getvalue()


def _ending(name: str) -> str:
    return name.rpartition(".")[2]


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
