"""The servers under test and what they stand on, as processes on free ports."""

import os
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

from tests.harness.postgres import PostgresServer
from tests.harness.redis import RedisServer

ROOT = Path(__file__).resolve().parent.parent

_SECONDS_TO_START = 30


@dataclass(frozen=True)
class Server:
    url: str
    pid: int


@dataclass(frozen=True)
class Stores:
    """One Postgres and one Redis; every server gets a database of its own."""

    postgres: PostgresServer
    redis: RedisServer

    def words(self, database: str) -> list[str]:
        """Return the flags that name them, which both servers understand."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            if not connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [database]
            ).fetchone():
                connection.execute(f"CREATE DATABASE {database}".encode())
        url = self.postgres.url.removesuffix("/postgres") + f"/{database}"
        return ["--database-url", url, "--redis-url", self.redis.url]


@contextmanager
def stores() -> Iterator[Stores]:
    with ExitStack() as stack:
        yield Stores(stack.enter_context(PostgresServer()), stack.enter_context(RedisServer()))


@contextmanager
def sharechat(
    words: Sequence[str] = (), *, script: Sequence[str] = ("-m", "sharechat")
) -> Iterator[Server]:
    """Run `sharechat serve` with these flags, without a limit to the rate of messages."""
    command = [sys.executable, *script, "serve", "--message-rate", "0"]
    with _process([*command, "--log-level", "warning", *words]) as server:
        yield server


@contextmanager
def yardstick(words: Sequence[str] = ("--memory",)) -> Iterator[Server]:
    with _process([sys.executable, "-m", "benchmarks.yardstick", *words]) as server:
        yield server


@contextmanager
def _process(command: Sequence[str]) -> Iterator[Server]:
    port = _free_port()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("DATABASE_URL", "REDIS_URL")
    }
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, env=environment, cwd=ROOT
    )
    try:
        _wait_for(port, process)
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None and time.monotonic() < give_up:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
                probe.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                # sharechat listens before it can answer.
                if probe.recv(1):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("the server did not start; it said why above")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
