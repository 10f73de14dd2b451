"""The servers under test, and the Postgres and Redis that they use, on free ports."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from tests.harness.ports import free_port
from tests.harness.postgres import PostgresServer
from tests.harness.redis import RedisServer

_ROOT = Path(__file__).resolve().parent.parent
_RIVALS = Path(__file__).resolve().parent / "rivals"

RIVALS = {
    "node": ("node", "node_ws.js"),
    "bun": (str(_RIVALS / "node_modules" / ".bin" / "bun"), "bun.js"),
}
"""Servers in JavaScript, which store nothing: what runs them, and the script."""

_SECONDS_TO_START = 30
_SECONDS_TO_STOP = 20
_SETTINGS = ("SHARECHAT_", "DATABASE_URL", "REDIS_URL")
"""Prefixes of environment variables that would change what a server does."""


@dataclass(frozen=True)
class Server:
    """A running server: its base URL, and the id of its (parent) process."""

    url: str
    pid: int


@dataclass(frozen=True)
class Stores:
    """One Postgres and one Redis, for all servers."""

    postgres: PostgresServer
    redis: RedisServer

    def flags(self, database: str) -> list[str]:
        """Return the flags that make a server use the stores; both servers understand them.

        `database` is created unless it exists: servers must not share one.
        """
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [database]
            ).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        url = self.postgres.url.removesuffix("/postgres") + f"/{database}"
        return ["--database-url", url, "--redis-url", self.redis.url]


@contextmanager
def running_stores() -> Iterator[Stores]:
    """Start Postgres and Redis; stop them at the end. Raises RuntimeError if one fails."""
    with ExitStack() as stack:
        yield Stores(stack.enter_context(PostgresServer()), stack.enter_context(RedisServer()))


@contextmanager
def sharechat(
    flags: Sequence[str] = (),
    *,
    program: Sequence[str] = ("-m", "sharechat"),
    port: int | None = None,
) -> Iterator[Server]:
    """Run `sharechat serve` with these flags and without a limit on any rate.

    `program` is what Python runs; without a `port` a free one is taken. Raises RuntimeError if
    the server does not start.
    """
    command = [sys.executable, *program, "serve", "--log-level", "warning"]
    if not {"--database-url", "--data"} & set(flags):
        command.append("--in-memory")
    unlimited = ["--message-rate", "0", "--room-rate", "0", "--join-rate", "0"]
    with _process([*command, *unlimited, *flags], port) as server:
        yield server


@contextmanager
def yardstick(flags: Sequence[str] = ("--memory",)) -> Iterator[Server]:
    """Run the yardstick with these flags. Raises RuntimeError if it does not start."""
    with _process([sys.executable, "-m", "benchmarks.yardstick", *flags]) as server:
        yield server


def is_installed(rival: str) -> bool:
    """Return whether a server of RIVALS can be run here."""
    program = shutil.which(RIVALS[rival][0])
    return program is not None and (_RIVALS / "node_modules" / "ws").exists()


@contextmanager
def rival(name: str) -> Iterator[Server]:
    """Run a server of RIVALS. Raises RuntimeError if it does not start."""
    program, script = RIVALS[name]
    with _process([program, str(_RIVALS / script)]) as server:
        yield server


@contextmanager
def _process(command: Sequence[str], port: int | None = None) -> Iterator[Server]:
    port = port or free_port()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)
    }
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, env=environment, cwd=_ROOT
    )
    try:
        _wait_until_ready(port, process)
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
                # A response, since sharechat listens before it can answer.
                probe.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if probe.recv(1):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the server did not start; see its error output above")
