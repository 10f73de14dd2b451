"""How many connections one address may have."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

from werkzeug.datastructures import Headers


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

    def forwarded_for(self, peer: str, headers: Headers) -> str | None:
        """Return for whom a trusted proxy made this connection; None if `peer` is no such proxy."""
        return self._client(headers) if self.is_trusted(peer) else None

    def is_full(self, address: str) -> bool:
        return self._connections[address] >= self._limit

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
