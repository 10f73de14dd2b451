"""How many members this process takes, and how many connections one address may have."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

from sharechat.domain.errors import FullError, TooManyConnectionsError


class Admission:
    """Counts members, and connections by address; the one place that lets either in.

    A place is taken by entering one of the context managers, which has no checkpoint between
    the check and the reservation, and is given back at the end of the block.

    A connection from a trusted proxy does not count as the proxy's. A member that comes
    through one counts for the address in its X-Forwarded-For; that of anybody else is not
    believed.
    """

    def __init__(
        self, *, max_members: int, max_per_address: int, trusted_proxies: Sequence[str] = ()
    ) -> None:
        self._max_members = max_members
        self._max_per_address = max_per_address
        self._trusted = [ip_network(proxy) for proxy in trusted_proxies]
        self._members = 0
        self._connections: Counter[str] = Counter()

    @contextmanager
    def admit_connection(self, address: str) -> Iterator[None]:
        """Count a connection from `address`. Raises TooManyConnectionsError."""
        if self._is_trusted(address):
            yield
        else:
            with self._count(address):
                yield

    @contextmanager
    def admit_member(self, peer: str, forwarded_for: Sequence[str]) -> Iterator[None]:
        """Count a member whose connection comes from `peer`.

        `forwarded_for` are the values of its X-Forwarded-For headers. Raises FullError, and
        TooManyConnectionsError.
        """
        if self._members >= self._max_members:
            raise FullError
        self._members += 1
        try:
            if self._is_trusted(peer):
                with self._count(self._client(forwarded_for)):
                    yield
            else:
                yield  # `admit_connection` has counted its address.
        finally:
            self._members -= 1

    @contextmanager
    def _count(self, address: str) -> Iterator[None]:
        if self._connections[address] >= self._max_per_address:
            raise TooManyConnectionsError
        self._connections[address] += 1
        try:
            yield
        finally:
            self._connections[address] -= 1
            if not self._connections[address]:
                del self._connections[address]

    def _is_trusted(self, address: str) -> bool:
        if not self._trusted:
            return False
        try:
            ip = ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._trusted)

    def _client(self, forwarded_for: Sequence[str]) -> str:
        """Return the last address that is not a trusted proxy's: whom the first proxy saw."""
        for hop in reversed([hop.strip() for hop in ",".join(forwarded_for).split(",")]):
            if not self._is_trusted(hop):
                return hop
        return "unknown"
