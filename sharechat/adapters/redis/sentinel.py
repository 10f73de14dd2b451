"""Redis Sentinel: which server is the primary of a service now.

The rules are those of Redis' documentation, "Guidelines for Redis clients with support for Redis
Sentinel": ask the sentinels in turn, remember who answers, and ask the server for its role.
"""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from urllib.parse import parse_qsl, quote, unquote, urlencode

from sharechat.adapters.redis.protocol import ConnectionFailedError
from sharechat.adapters.redis.redis_connection import RedisConnection
from sharechat.adapters.redis.url import Endpoint, parse_url

_SCHEME = re.compile(r"(rediss?)\+sentinel://")
_PORT = ":26379"

Connect = Callable[[Endpoint, bytes], AbstractAsyncContextManager[RedisConnection]]
"""Opens a connection with a name to an endpoint, or raises ConnectionFailedError."""


class Sentinels:
    """The sentinels that watch a service.

    `primary` says how to connect to the service's primary; its host and port are to be found.
    """

    def __init__(self, endpoints: list[Endpoint], service: str, primary: Endpoint) -> None:
        self.service = service
        self.primary = primary
        self._endpoints = endpoints

    def __str__(self) -> str:
        return f"{self.service} of the sentinels {', '.join(sorted(map(str, self._endpoints)))}"

    async def find_primary(self, connect: Connect) -> Endpoint:
        """Return where the primary is. Cancelling leaves no connection open.

        Raises ConnectionFailedError, with what became of each, if no sentinel tells.
        """
        reasons = []
        for endpoint in list(self._endpoints):
            try:
                async with connect(endpoint, b"sharechat") as sentinel:
                    address = await sentinel.ask(
                        b"SENTINEL", b"get-master-addr-by-name", self.service.encode()
                    )
            except ConnectionFailedError as error:
                reasons.append(str(error))
                continue
            if address is None:
                reasons.append(f"the sentinel {endpoint} does not know {self.service}")
                continue
            # Who answers is asked first the next time.
            self._endpoints.remove(endpoint)
            self._endpoints.insert(0, endpoint)
            host, port = address
            return replace(self.primary, host=host.decode(), port=int(port))
        raise ConnectionFailedError("; ".join(reasons))


async def check_role(connection: RedisConnection, endpoint: Endpoint) -> None:
    """Raise ConnectionFailedError unless a server is a primary.

    A sentinel that was cut off may name a server that has become a replica since. What is published
    there reaches nobody else. Nothing is known if the user may not ask.
    """
    try:
        role, *_ = await connection.ask(b"ROLE")
    except ConnectionFailedError as error:
        if "NOPERM" not in str(error):
            raise
        return
    if role != b"master":
        raise ConnectionFailedError(f"{endpoint} is no longer the primary")


def parse_address(url: str) -> Endpoint | Sentinels:
    """Return what a Redis URL names: a server, or a service and its sentinels.

    The latter is `redis+sentinel://[[user:]password@]host[:port][,host[:port]]/service[/database]`,
    or `rediss+sentinel://` with TLS for all. User and password are those of the service; those of
    the sentinels are the options `sentinel_username` and `sentinel_password`. All else, and what is
    raised, is as in `parse_url`.
    """
    match = _SCHEME.match(url)
    if match is None:
        return parse_url(url)
    scheme = match[1]
    address, _, query = url[match.end() :].partition("?")
    netloc, _, path = address.partition("/")
    user, at, hosts = netloc.rpartition("@")
    service, _, database = path.partition("/")
    if not service or not hosts:
        raise ValueError(
            "The Redis URL must name sentinels and a service: redis+sentinel://host,host/service."
        )
    options = dict(parse_qsl(query))
    sentinel_user = quote(options.pop("sentinel_username", ""), safe="")
    sentinel_password = quote(options.pop("sentinel_password", ""), safe="")
    login = f"{sentinel_user}:{sentinel_password}@" if sentinel_password else ""
    rest = f"?{urlencode(options)}" if options else ""
    addresses = [host if re.search(r":\d+$", host) else host + _PORT for host in hosts.split(",")]
    endpoints = [parse_url(f"{scheme}://{login}{address}{rest}") for address in addresses]
    primary = parse_url(f"{scheme}://{user}{at}{addresses[0]}/{database}{rest}")
    return Sentinels(endpoints, unquote(service), primary)
