"""The server under test, by its REST endpoints."""

import http.client
import ipaddress
import json
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

_TIMEOUT = 60
_READ = 1 << 18


class NotOursError(ValueError):
    """A server on another machine, which its owner may not have agreed to load."""


@dataclass(frozen=True)
class Target:
    """Where the server is; every method is a blocking request and may raise OSError."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str, *, may_be_remote: bool = False) -> "Target":
        """Return the target that `url` names.

        Raises NotOursError unless it is this machine, by loopback, or `may_be_remote`;
        ValueError if it is no http URL.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url} is no URL such as http://127.0.0.1:8080.")
        *_, address = socket.getaddrinfo(
            parts.hostname, parts.port or 80, socket.AF_INET, socket.SOCK_STREAM
        )[0]
        host, port = str(address[0]), int(address[1])
        if not may_be_remote and not ipaddress.ip_address(host).is_loopback:
            raise NotOursError(
                f"{parts.hostname} is another machine. Load only what is yours to load, "
                "and say so with --i-own-this-server."
            )
        return cls(host, port)

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    def make_room(self) -> str:
        with self._request("POST", "/api/room") as response:
            return str(json.loads(response.read())["roomId"])

    def history(self, room: str) -> list[str] | None:
        """Return the ids of all the room's messages; None if the server keeps no history."""
        with self._request("GET", f"/api/room/{room}/messages") as response:
            messages = json.loads(response.read()) if response.status == 200 else None
        return [message["id"] for message in messages] if messages else None

    def download(self, room: str) -> bytes:
        """Return the whole history as it comes, read as fast as possible."""
        with self._request("GET", f"/api/room/{room}/messages") as response:
            chunks = []
            while chunk := response.read(_READ):
                chunks.append(chunk)
        return b"".join(chunks)

    def _request(self, method: str, path: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT)
        # With this the response owns the socket, and closes it at its end.
        connection.request(method, path, headers={"Connection": "close"})
        return connection.getresponse()
