"""Addresses of rooms, in whatever form people copy them."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlsplit

_ROOM_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SECURE = {"https": True, "wss": True, "http": False, "ws": False}


@dataclass(frozen=True)
class Server:
    """Where a server is; `prefix` is what comes before the paths of its API, mostly nothing."""

    secure: bool
    host: str
    port: int
    authority: str
    """As in a URL: the host, and the port unless it is the usual one."""
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the server of an address. Without a scheme it is https, or http if it is local.

        Raises ValueError, with a sentence for the user.
        """
        text = text.strip()
        if "://" not in text:
            text = f"//{text}"
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError("The address has no valid host or port.") from None
        if not host:
            raise ValueError("The address has no host.")
        if parts.scheme and parts.scheme not in _SECURE:
            raise ValueError(f"{parts.scheme}:// is not http://, https://, ws:// or wss://.")
        secure = _SECURE[parts.scheme] if parts.scheme else not _is_local(host)
        prefix = re.split(r"/(?:api|room)(?:/|$)", parts.path, maxsplit=1)[0].rstrip("/")
        return cls(
            secure,
            host,
            port or (443 if secure else 80),
            parts.netloc.rpartition("@")[2],
            _ROOM_ID.sub("", prefix).rstrip("/"),
        )

    @property
    def http(self) -> str:
        """The URL that the paths of the API are appended to."""
        return f"http{'s' * self.secure}://{self.authority}{self.prefix}"


@dataclass(frozen=True)
class RoomAddress:
    """Where a room is."""

    server: Server
    room_id: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the room of an address: a page's, a websocket's, or an endpoint's.

        Raises ValueError, with a sentence for the user.
        """
        if is_room_id(text):
            raise ValueError("That is a room's id; the address of its server is missing.")
        server = Server.parse(text)
        ids = _ROOM_ID.findall(re.split(r"[?#]", text, maxsplit=1)[0])
        if not ids:
            raise ValueError("The address has no room's id.")
        return cls(server, ids[-1].lower())

    @property
    def page(self) -> str:
        """The address to share."""
        return f"{self.server.http}/room/{self.room_id}"

    @property
    def api(self) -> str:
        return f"{self.server.http}/api/room/{self.room_id}"

    @property
    def websocket(self) -> str:
        """The address for clients such as websocat."""
        server = self.server
        return f"ws{'s' * server.secure}://{server.authority}{self.websocket_target(None)}"

    def websocket_target(self, after: str | None) -> str:
        """Return the path and query to hear what came after the message `after`, if given."""
        query = "" if after is None else f"?after={quote(after)}"
        return f"{self.server.prefix}/api/serve/{self.room_id}{query}"

    def __str__(self) -> str:
        return self.page


def is_room_id(text: str) -> bool:
    """Return whether the text is a room's id alone, without its server's address."""
    return _ROOM_ID.fullmatch(text.strip()) is not None


def _is_local(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
