"""How many members this process takes, and how many connections one address may have."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sharechat.domain.errors import FullError, TooManyConnectionsError
from sharechat.net.addresses import Address, Proxies, grouped, parse


class Admission:
    """Counts members, and connections by address; the one place that lets either in.

    A place is taken by entering one of the context managers, which has no checkpoint between
    the check and the reservation, and is given back at the end of the block.

    A connection from a trusted proxy does not count as the proxy's. A member that comes
    through one counts for the address in its X-Forwarded-For or Forwarded; those of anybody
    else are not believed.
    """

    def __init__(
        self, *, max_members: int, max_per_address: int, trusted_proxies: Sequence[str] = ()
    ) -> None:
        self._max_members = max_members
        self._max_per_address = max_per_address
        self._proxies = Proxies(trusted_proxies)
        self._members = 0
        # It has an entry only for addresses with a connection.
        self._connections: Counter[Address] = Counter()

    @contextmanager
    def admit_connection(self, peer: str) -> Iterator[None]:
        """Count a connection from `peer`. Raises TooManyConnectionsError."""
        address = parse(peer)
        if address in self._proxies:
            yield
        else:
            with self._count(address):
                yield

    @contextmanager
    def admit_member(
        self, peer: str, forwarded_for: Sequence[str], forwarded: Sequence[str]
    ) -> Iterator[None]:
        """Count a member whose connection comes from `peer`.

        `forwarded_for` and `forwarded` are the values of its X-Forwarded-For and Forwarded
        headers. Raises FullError, and TooManyConnectionsError.
        """
        if self._members >= self._max_members:
            raise FullError
        self._members += 1
        try:
            address = parse(peer)
            if address in self._proxies:
                with self._count(self._proxies.client(address, forwarded_for, forwarded)):
                    yield
            else:
                yield  # `admit_connection` has counted its address.
        finally:
            self._members -= 1

    @contextmanager
    def _count(self, address: Address) -> Iterator[None]:
        one = grouped(address)
        if self._connections[one] >= self._max_per_address:
            raise TooManyConnectionsError
        self._connections[one] += 1
        try:
            yield
        finally:
            self._connections[one] -= 1
            if not self._connections[one]:
                del self._connections[one]
