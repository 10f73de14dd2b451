"""A full disk under Postgres: unhealthy within seconds, and healthy again once there is space.

    python -m tests.hostile.full_disk

Needs root, to mount the small file system that Postgres keeps its data on. Exits with 1 if
the server does not do what it should.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from tests.harness.deadline import wait_until
from tests.harness.http import fetch, make_room
from tests.harness.postgres import PostgresServer
from tests.harness.process import SharechatProcess
from tests.harness.redis import RedisServer
from tests.harness.talker import join

_SIZE = "160m"
"""Of the file system. A new database takes some 60 MB."""

_SOON = 10.0
"""Seconds within which a change must show."""


@contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", name], check=True)
        try:
            Path(name).chmod(0o755)
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def _fill(folder: Path) -> Path:
    """Leave no space on the file system."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return ballast


def _time(what: str, holds: Callable[[], object]) -> None:
    start = time.monotonic()
    wait_until(holds, _SOON)
    print(f"{what} after {time.monotonic() - start:.1f} s")


async def _talk(url: str) -> None:
    """Send messages, until the disk notices."""
    async with trio.open_nursery() as nursery:
        talker = await join(nursery, url)
        with trio.move_on_after(5):
            while True:
                await talker.say("x" * 10_000)
                if (await talker.hear())["type"] == "failed":
                    break
        nursery.cancel_scope.cancel()


def main() -> int:
    with PostgresServer():
        pass  # Its programs and initial data are now where there is space.
    with _small_disk() as disk, RedisServer() as redis:
        tempfile.tempdir = str(disk)
        with PostgresServer() as postgres:
            flags = ("--database-url", postgres.url, "--redis-url", redis.url)
            with SharechatProcess(*flags, "--message-rate", "0") as server:
                room = make_room(server.url)

                def status() -> int:
                    return fetch(f"{server.url}/api/healthz").status

                assert status() == 200
                ballast = _fill(disk)
                trio.run(_talk, server.ws_url(room))
                _time("unhealthy", lambda: status() == 503)
                time.sleep(8)
                print("still", fetch(f"{server.url}/api/healthz").json)
                still = status()
                ballast.unlink()
                _time("healthy again", lambda: status() == 200)
                fetch(f"{server.url}/api/room", "POST")
                time.sleep(7)
                code = server.stop()
                print(server.stderr)
    reasons = server.stderr.count("No space left on device")
    return 0 if still == 503 and code == 0 and 1 <= reasons <= 5 else 1


if __name__ == "__main__":
    sys.exit(main())
