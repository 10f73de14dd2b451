"""The server under test, as seen through its REST endpoints."""

import http.client
import ipaddress
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from sharechat.bench.wire import trusting_context

_TIMEOUT = 60
"""Seconds that any one read from the server may take."""
_READ_BYTES = 1 << 18


class RemoteTargetError(ValueError):
    """The server is on another machine, whose owner may not have agreed to a load test."""


class TargetError(RuntimeError):
    """The server answered a request with something other than success."""


@dataclass(frozen=True)
class Target:
    """The address of the server.

    Every request blocks, and may raise OSError or http.client.HTTPException.
    """

    host: str
    port: int
    secure: bool = False
    """Whether it speaks TLS."""

    @classmethod
    def parse(cls, url: str, *, may_be_remote: bool = False) -> "Target":
        """Return the target at `url`; a missing scheme means http, a missing port 80, or
        443 for https.

        Raises ValueError if that is no http or https URL, RemoteTargetError if its host is not a
        loopback address and `may_be_remote` is false, OSError if the host has no address.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is not a URL like http://127.0.0.1:8080.")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        found = socket.getaddrinfo(parts.hostname, port, socket.AF_INET, socket.SOCK_STREAM)
        *_, address = found[0]
        host = str(address[0])
        if not may_be_remote and not ipaddress.ip_address(host).is_loopback:
            raise RemoteTargetError(
                f"{parts.hostname} is another machine. If you may load it, "
                "confirm that with --i-own-this-server."
            )
        return cls(host, port, secure)

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port

    def create_room(self) -> str:
        """Create a room and return its id. Raises TargetError if the server refuses."""
        with self._request("POST", "/api/room") as response:
            if response.status != 200:
                raise TargetError(f"cannot create a room: {response.status} {response.reason}")
            return str(json.loads(response.read())["roomId"])

    def count_members(self, room: str) -> int:
        """Return how many members the room has. Raises TargetError if the server refuses."""
        with self._request("GET", f"/api/room/{room}") as response:
            if response.status != 200:
                raise TargetError(f"cannot get a room: {response.status} {response.reason}")
            return len(json.loads(response.read())["members"])

    def history(self, room: str) -> list[str] | None:
        """Return the ids of the room's messages, oldest first, or None if there are none.

        Some servers keep no history, so an empty one is not an error.
        """
        with self._request("GET", f"/api/room/{room}/messages") as response:
            messages = json.loads(response.read()) if response.status == 200 else None
        return [message["id"] for message in messages] if messages else None

    def download(self, room: str) -> bytes:
        """Return the room's history as the bytes of the response, read as fast as possible."""
        with self._request("GET", f"/api/room/{room}/messages") as response:
            chunks = []
            while chunk := response.read(_READ_BYTES):
                chunks.append(chunk)
        return b"".join(chunks)

    @contextmanager
    def _request(self, method: str, path: str) -> Iterator[http.client.HTTPResponse]:
        connection = (
            http.client.HTTPSConnection(
                self.host, self.port, timeout=_TIMEOUT, context=trusting_context()
            )
            if self.secure
            else http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT)
        )
        with closing(connection):
            connection.request(method, path, headers={"Connection": "close"})
            yield connection.getresponse()
