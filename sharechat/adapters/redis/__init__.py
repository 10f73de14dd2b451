"""The Queue over Redis pub/sub: hiredis parses the protocol, trio does the I/O."""

from typing import Unpack

from sharechat.adapters.redis.addresses import parse_address
from sharechat.adapters.redis.cluster import Cluster
from sharechat.adapters.redis.cluster_queue import ClusterQueue
from sharechat.adapters.redis.connector import Connector
from sharechat.adapters.redis.link import LinkOptions
from sharechat.adapters.redis.queue import RedisQueue
from sharechat.adapters.redis.redis_connection import OpenStream, open_stream
from sharechat.adapters.redis.sentinel import Sentinels
from sharechat.domain.telemetry import SILENT, Telemetry

__all__ = ["ClusterQueue", "RedisQueue", "open_queue"]


def open_queue(
    url: str,
    telemetry: Telemetry = SILENT,
    *,
    timeout: float = 3.0,
    open_stream: OpenStream = open_stream,
    **options: Unpack[LinkOptions],
) -> RedisQueue | ClusterQueue:
    """Return the Queue over what a Redis URL names, without any I/O.

    Redis has `timeout` seconds to answer; `open_stream` is for a simulated network, and the
    `options` are those of a Link. Raises ValueError if the URL is not valid.
    """
    address = parse_address(url)
    match address:
        case Cluster():
            connector = Connector(address.pattern, timeout=timeout, open_stream=open_stream)
            return ClusterQueue(address, connector, telemetry, **options)
        case Sentinels():
            server = address.primary
        case _:
            server = address
    connector = Connector(server, timeout=timeout, open_stream=open_stream)
    return RedisQueue(address, connector, telemetry, **options)
