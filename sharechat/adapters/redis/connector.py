"""How connections to the servers of one URL are made."""

import ssl
from contextlib import AbstractAsyncContextManager

from sharechat.adapters.redis.protocol import ConnectionFailedError
from sharechat.adapters.redis.redis_connection import (
    OpenStream,
    RedisConnection,
    connect,
    open_stream,
)
from sharechat.adapters.redis.url import Endpoint


class Connector:
    """Connects to servers that differ from `pattern` in host and port at most.

    `timeout` is that of `connect`. `open_stream` is for a simulated network.
    """

    def __init__(
        self, pattern: Endpoint, *, timeout: float = 3.0, open_stream: OpenStream = open_stream
    ) -> None:
        self.timeout = timeout
        self.pattern = pattern
        self._open_stream = open_stream
        self._tls_context: ssl.SSLContext | None = None

    def connect(
        self, server: Endpoint, name: bytes
    ) -> AbstractAsyncContextManager[RedisConnection]:
        """See `connect`."""
        context = self._make_tls_context()
        return connect(server, name, context, self.timeout, self._open_stream)

    def _make_tls_context(self) -> ssl.SSLContext | None:
        # Not in __init__ because this reads files; once because it takes tens of milliseconds.
        if self._tls_context is None and self.pattern.tls is not None:
            try:
                self._tls_context = self.pattern.make_tls_context()
            except (OSError, ValueError) as error:
                reason = f"the ssl_ options of the URL cannot be used: {error}"
                raise ConnectionFailedError(reason) from error
        return self._tls_context
