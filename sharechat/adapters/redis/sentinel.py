"""Redis Sentinel: which server is the primary of a service now.

The rules are those of Redis' documentation, "Guidelines for Redis clients with support for Redis
Sentinel": ask the sentinels in turn, remember who answers, and ask the server for its role.
"""

from dataclasses import replace

from sharechat.adapters.redis.protocol import ConnectionFailedError
from sharechat.adapters.redis.redis_connection import Connect, RedisConnection
from sharechat.adapters.redis.url import Endpoint


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
