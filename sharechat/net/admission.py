"""How many members this process takes, and what one address may take of it."""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import trio

from sharechat.domain.errors import FullError, TooFastError, TooManyConnectionsError
from sharechat.domain.token_bucket import TokenBucket
from sharechat.net.addresses import Address, Proxies, grouped, parse

_BURST = 100
"""Seconds' worth of rooms and joins that an address may make at once."""

_MEMBERS = 10
"""An address may send as many messages as this many members together."""

_MAX_BUCKETS = 16_384
"""How many addresses have buckets; the one that was used least recently gets full ones again."""


class _Buckets:
    """What one address may still do."""

    __slots__ = ("joins", "messages", "rooms")

    def __init__(self, rooms: TokenBucket, joins: TokenBucket, messages: TokenBucket) -> None:
        self.rooms = rooms
        self.joins = joins
        self.messages = messages


class Admission:
    """Counts members, and connections by address; the one place that lets either in.

    A place is taken by entering one of the context managers, which has no checkpoint between
    the check and the reservation, and is given back at the end of the block. Rooms and joins
    draw on a bucket of their address, which is refilled by time alone.

    A connection from a trusted proxy does not count as the proxy's. Requests and members that
    come through one count for the address in their X-Forwarded-For or Forwarded; those of
    anybody else are not believed.
    """

    def __init__(
        self,
        *,
        max_members: int,
        max_per_address: int,
        room_rate: float = 0,
        join_rate: float = 0,
        message_rate: float = 0,
        message_burst: int = 1,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        """Rates are per second; 0 sets no limit. Those of messages are one member's."""
        self._max_members = max_members
        self._max_per_address = max_per_address
        self._room_rate = room_rate
        self._join_rate = join_rate
        self._message_rate = message_rate * _MEMBERS
        self._message_burst = message_burst * _MEMBERS
        self._proxies = Proxies(trusted_proxies)
        self._members = 0
        # It has an entry only for addresses with a connection.
        self._connections: Counter[Address] = Counter()
        # In the order of their last use.
        self._buckets: OrderedDict[Address, _Buckets] = OrderedDict()

    @contextmanager
    def admit_connection(self, peer: str) -> Iterator[None]:
        """Count a connection from `peer`. Raises TooManyConnectionsError."""
        address = parse(peer)
        if address in self._proxies:
            yield
        else:
            with self._count(grouped(address)):
                yield

    @contextmanager
    def admit_member(
        self, peer: str, forwarded_for: Sequence[str], forwarded: Sequence[str]
    ) -> Iterator[TokenBucket]:
        """Count a member whose connection comes from `peer`.

        `forwarded_for` and `forwarded` are the values of its X-Forwarded-For and Forwarded
        headers. Gives the bucket that all messages of its address draw on. Raises FullError,
        TooManyConnectionsError and TooFastError.
        """
        if self._members >= self._max_members:
            raise FullError
        self._members += 1
        try:
            client = self._client(peer, forwarded_for, forwarded)
            # Otherwise `admit_connection` has counted its address.
            through_proxy = parse(peer) in self._proxies
            with self._count(client) if through_proxy else nullcontext():
                buckets = self._get_buckets(client)
                _take(buckets.joins)
                yield buckets.messages
        finally:
            self._members -= 1

    def admit_room(self, peer: str, forwarded_for: Sequence[str], forwarded: Sequence[str]) -> None:
        """Count a room that is being made by a request; see `admit_member`.

        Raises TooFastError.
        """
        _take(self._get_buckets(self._client(peer, forwarded_for, forwarded)).rooms)

    def _client(self, peer: str, forwarded_for: Sequence[str], forwarded: Sequence[str]) -> Address:
        return grouped(self._proxies.client(parse(peer), forwarded_for, forwarded))

    def _get_buckets(self, client: Address) -> _Buckets:
        buckets = self._buckets.get(client)
        if buckets is None:
            buckets = self._buckets[client] = _Buckets(
                TokenBucket(self._room_rate, max(1, self._room_rate * _BURST)),
                TokenBucket(self._join_rate, max(1, self._join_rate * _BURST)),
                TokenBucket(self._message_rate, self._message_burst),
            )
            if len(self._buckets) > _MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(client)
        return buckets

    @contextmanager
    def _count(self, client: Address) -> Iterator[None]:
        if self._connections[client] >= self._max_per_address:
            raise TooManyConnectionsError
        self._connections[client] += 1
        try:
            yield
        finally:
            self._connections[client] -= 1
            if not self._connections[client]:
                del self._connections[client]


def _take(bucket: TokenBucket) -> None:
    if wait := bucket.take_now(trio.current_time()):
        raise TooFastError(wait)
