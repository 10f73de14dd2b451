"""One connection to Redis. Every wait has a deadline, except the wait for the next reply."""

import os
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import hiredis
import trio

from sharechat.adapters.redis.protocol import ConnectionFailedError, ReplyParser, pack
from sharechat.adapters.redis.url import Endpoint

OpenStream = Callable[[Endpoint], Awaitable[trio.abc.Stream]]
"""Opens a stream to an endpoint, without TLS, or raises OSError."""


Connect = Callable[[Endpoint, bytes], AbstractAsyncContextManager["RedisConnection"]]
"""Opens a connection with a name to an endpoint, or raises ConnectionFailedError."""


class RedisConnection:
    """Sends bytes and receives replies. One task may send while another one receives."""

    def __init__(self, stream: trio.abc.Stream, endpoint: Endpoint, timeout: float) -> None:
        self._stream = stream
        self._endpoint = endpoint
        self._timeout = timeout
        self._parser = ReplyParser()

    async def send(self, data: bytes) -> None:
        """Send `data`, which must consist of whole commands.

        Raises ConnectionFailedError if that fails or takes longer than the timeout. After
        that, or after a cancelled call, the connection can only be closed: the last command
        may have been sent in part.
        """
        try:
            with trio.fail_after(self._timeout):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            raise ConnectionFailedError(
                f"{self._endpoint} did not accept the data within {self._timeout:g} s"
            ) from None
        except trio.BrokenResourceError as error:
            raise self._broken(error) from error

    async def receive(self) -> list[Any]:
        """Wait for bytes and return the replies that they complete, possibly none.

        Waits without a deadline. Raises ConnectionFailedError once the connection has ended.
        A cancelled call loses nothing.
        """
        try:
            data = await self._stream.receive_some()
        except trio.BrokenResourceError as error:
            raise self._broken(error) from error
        if not data:
            raise ConnectionFailedError(f"{self._endpoint} closed the connection")
        return self._parser.feed(bytes(data))

    async def ask(self, *words: bytes) -> Any:
        """Send one command and return its reply.

        Nobody else may use the connection meanwhile. Raises ConnectionFailedError if Redis
        refuses or does not answer within the timeout. After that, or after a cancelled call, the
        connection can only be closed: the reply may be yet to come.
        """
        await self.send(pack(words))
        replies: list[Any] = []
        try:
            with trio.fail_after(self._timeout):
                while not replies:
                    replies = await self.receive()
        except trio.TooSlowError as error:
            raise _connect_error(self._endpoint, error, self._timeout) from error
        if isinstance(replies[0], hiredis.ReplyError):
            raise self._refused(replies[0])
        return replies[0]

    async def initialize(self, name: bytes) -> None:
        """Authenticate, select the database and set the connection's name.

        Raises ConnectionFailedError, with the error of Redis, if Redis refuses. The name only
        helps people who read CLIENT LIST, so Redis may refuse to set it.
        """
        commands = []
        if self._endpoint.username or self._endpoint.password:
            words = [self._endpoint.username, self._endpoint.password]
            commands.append((b"AUTH", *(word.encode() for word in words if word)))
        if self._endpoint.database:
            commands.append((b"SELECT", b"%d" % self._endpoint.database))
        commands.append((b"CLIENT", b"SETNAME", name))
        await self.send(b"".join(map(pack, commands)))
        replies: list[Any] = []
        while len(replies) < len(commands):
            replies += await self.receive()
            for reply in replies:
                if isinstance(reply, hiredis.ReplyError) and not _is_about_the_name(reply):
                    raise self._refused(reply)

    def _refused(self, reply: hiredis.ReplyError) -> ConnectionFailedError:
        text, password = str(reply), self._endpoint.password
        # A server that does not support AUTH quotes its arguments in the error.
        text = text.replace(password, "***") if password else text
        return ConnectionFailedError(f"{self._endpoint} refused: {text}")

    def _broken(self, error: trio.BrokenResourceError) -> ConnectionFailedError:
        return ConnectionFailedError(
            f"the connection to {self._endpoint} broke: {_describe(error)}"
        )


async def open_stream(endpoint: Endpoint) -> trio.abc.Stream:
    """Open a socket to the endpoint. Raises OSError."""
    if endpoint.path is not None:
        return await trio.open_unix_socket(endpoint.path)
    return await trio.open_tcp_stream(endpoint.host, endpoint.port)


@asynccontextmanager
async def connect(
    endpoint: Endpoint,
    name: bytes,
    context: ssl.SSLContext | None,
    timeout: float,
    open_stream: OpenStream = open_stream,
) -> AsyncGenerator[RedisConnection, None]:
    """Open an authenticated connection called `name`, and close it when the block ends.

    Uses TLS if there is a `context`. Raises ConnectionFailedError if Redis cannot be reached,
    refuses, or takes longer than `timeout` seconds for a step. The same timeout later applies
    to every `send`.
    """
    # Each step has a deadline of its own, because a cancel scope must not contain the `yield`.
    try:
        with trio.fail_after(timeout):
            stream = await open_stream(endpoint)
    except (OSError, trio.TooSlowError) as error:
        raise _connect_error(endpoint, error, timeout) from error
    if context is not None:
        stream = trio.SSLStream(stream, context, server_hostname=endpoint.host)
    try:
        connection = RedisConnection(stream, endpoint, timeout)
        try:
            with trio.fail_after(timeout):
                if isinstance(stream, trio.SSLStream):
                    await stream.do_handshake()
                await connection.initialize(name)
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            raise _connect_error(endpoint, error, timeout) from error
        yield connection
    finally:
        # A graceful TLS close would wait for a server that may be frozen.
        await trio.aclose_forcefully(stream)


def _connect_error(endpoint: Endpoint, error: Exception, timeout: float) -> ConnectionFailedError:
    slow = isinstance(error, trio.TooSlowError)
    reason = f"no answer within {timeout:g} s" if slow else _describe(error)
    return ConnectionFailedError(f"connecting to {endpoint} failed: {reason}")


def _describe(error: BaseException) -> str:
    """Return the text of the operating system's or OpenSSL's error that caused `error`.

    Trio wraps it in other errors and, if a name has several addresses, in a group.
    """
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif isinstance(error, ssl.SSLError | socket.gaierror):
            # These are OSErrors, but their numbers are not the operating system's.
            return error.strerror or str(error)
        elif isinstance(error, OSError) and error.errno is not None:
            return os.strerror(error.errno)
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            return str(error) or type(error).__name__


def _is_about_the_name(error: hiredis.ReplyError) -> bool:
    # Some users and proxies may not send CLIENT SETNAME.
    text = str(error).lower()
    return text.startswith(("noperm", "err unknown")) and "client" in text
