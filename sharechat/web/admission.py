"""How many connections one address may have."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

from werkzeug.datastructures import Headers

from sharechat.outcomes import TOO_MANY
from sharechat.web.problems import ProblemError


class Admission:
    """Counts connections by address.

    A connection from a trusted proxy counts as its client's, which the proxy's
    X-Forwarded-For tells; nobody else's header is believed.
    """

    def __init__(self, limit: int, trusted_proxies: Sequence[str] = ()) -> None:
        self._limit = limit
        self._trusted = [ip_network(proxy) for proxy in trusted_proxies]
        self._connections: Counter[str] = Counter()

    @contextmanager
    def admit(self, address: str) -> Iterator[bool]:
        """Count a connection of `address` while in the block; say whether it is let in."""
        if self.is_trusted(address):
            yield True
            return
        self._connections[address] += 1
        try:
            yield self._connections[address] <= self._limit
        finally:
            self._connections[address] -= 1
            if not self._connections[address]:
                del self._connections[address]

    @contextmanager
    def admit_forwarded(self, peer: str | None, headers: Headers) -> Iterator[None]:
        """Count a websocket that came through a trusted proxy, while in the block.

        Raises ProblemError if its client has too many. A websocket from anywhere else is
        counted since it was accepted.
        """
        if peer is None or not self.is_trusted(peer):
            yield
            return
        with self.admit(self._client(headers)) as welcome:
            if not welcome:
                raise ProblemError(TOO_MANY, "Close some of the others first.")
            yield

    def is_trusted(self, address: str) -> bool:
        if not self._trusted:
            return False
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._trusted)

    def _client(self, headers: Headers) -> str:
        """Return the last address that no trusted proxy has: whom the first of them saw."""
        hops = ",".join(headers.getlist("X-Forwarded-For")).split(",")
        for hop in reversed([hop.strip() for hop in hops]):
            if not self.is_trusted(hop):
                return hop
        return "unknown"
