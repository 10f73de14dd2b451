"""One connection to Redis: open with deadlines, closed whatever happens."""

import os
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import hiredis
import trio

from sharechat.adapters.redis.protocol import LostError, Parser, pack
from sharechat.adapters.redis.url import Server


class Connection:
    """Bytes out, replies in. One task may send while another receives."""

    def __init__(self, stream: trio.abc.Stream, server: Server, timeout: float) -> None:
        self._stream = stream
        self._server = server
        self._timeout = timeout
        self._parser = Parser()

    async def send(self, data: bytes) -> None:
        """Send `data`, whole commands.

        Raises LostError if that fails or takes too long. After that, or after being
        cancelled, the connection is of no use: a command may be cut in two.
        """
        try:
            with trio.fail_after(self._timeout):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            raise LostError(f"{self._server} took in nothing for {self._timeout:g} s") from None
        except trio.BrokenResourceError as error:
            raise LostError(f"the connection to {self._server} broke: {_reason(error)}") from error

    async def receive(self) -> list[Any]:
        """Wait for bytes and return the replies that they complete, perhaps none.

        Raises LostError once the connection has ended. Cancelling loses nothing.
        """
        try:
            data = await self._stream.receive_some()
        except trio.BrokenResourceError as error:
            raise LostError(f"the connection to {self._server} broke: {_reason(error)}") from error
        if not data:
            raise LostError(f"{self._server} closed the connection")
        return self._parser.feed(bytes(data))

    async def introduce(self, name: bytes) -> None:
        """Authenticate, select the database and set the connection's name.

        Raises LostError with what Redis has against it.
        """
        commands = []
        if self._server.username or self._server.password:
            words = [self._server.username, self._server.password]
            commands.append((b"AUTH", *(word.encode() for word in words if word)))
        if self._server.database:
            commands.append((b"SELECT", b"%d" % self._server.database))
        commands.append((b"CLIENT", b"SETNAME", name))
        await self.send(b"".join(map(pack, commands)))
        replies: list[Any] = []
        while len(replies) < len(commands):
            replies += await self.receive()
            for reply in replies:
                if isinstance(reply, hiredis.ReplyError) and not _is_about_name(reply):
                    raise LostError(f"{self._server} refused: {self._without_secret(reply)}")

    def _without_secret(self, error: hiredis.ReplyError) -> str:
        # A server that knows no AUTH quotes the words that came with it.
        text = str(error)
        return text.replace(self._server.password, "***") if self._server.password else text


@asynccontextmanager
async def connect(
    server: Server, name: bytes, context: ssl.SSLContext | None, timeout: float
) -> AsyncGenerator[Connection, None]:
    """Connect to `server` for as long as the block lasts, authenticated and named.

    Raises LostError if it does not answer, or not within `timeout` seconds, or refuses.
    """
    # Each step has its own deadline, because none may span the `yield`.
    try:
        with trio.fail_after(timeout):
            stream: trio.abc.Stream = await _open(server)
    except (OSError, trio.TooSlowError) as error:
        raise _failed(server, error, timeout) from error
    if context is not None:
        stream = trio.SSLStream(stream, context, server_hostname=server.host)
    try:
        connection = Connection(stream, server, timeout)
        try:
            with trio.fail_after(timeout):
                if isinstance(stream, trio.SSLStream):
                    await stream.do_handshake()
                await connection.introduce(name)
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            raise _failed(server, error, timeout) from error
        yield connection
    finally:
        # Nothing that waits is worth a goodbye, and a frozen server would not answer one.
        await trio.aclose_forcefully(stream)


async def _open(server: Server) -> trio.SocketStream:
    if server.path is not None:
        return await trio.open_unix_socket(server.path)
    return await trio.open_tcp_stream(server.host, server.port)


def _failed(server: Server, error: Exception, timeout: float) -> LostError:
    slow = isinstance(error, trio.TooSlowError)
    reason = f"no answer within {timeout:g} s" if slow else _reason(error)
    return LostError(f"connecting to {server} failed: {reason}")


def _reason(error: BaseException) -> str:
    """Return what is at the bottom of `error`, in words.

    Trio wraps what the operating system said, once for each address that it tried.
    """
    while True:
        if isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        elif isinstance(error, ssl.SSLError | socket.gaierror):
            # Their numbers are none of the operating system's.
            return error.strerror or str(error)
        elif isinstance(error, OSError) and error.errno is not None:
            return os.strerror(error.errno)
        elif error.__cause__ is not None:
            error = error.__cause__
        else:
            return str(error) or type(error).__name__


def _is_about_name(error: hiredis.ReplyError) -> bool:
    # The name only helps whoever looks at CLIENT LIST; some users and proxies may not set it.
    text = str(error).lower()
    return text.startswith(("noperm", "err unknown")) and "client" in text
