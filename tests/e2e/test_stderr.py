"""Whatever becomes of standard error, requests are answered and SIGTERM works."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.cluster import Cluster
from tests.harness.deadline import DEADLINE, wait_until
from tests.harness.http import HANDSHAKE, fetch, make_room
from tests.harness.ports import free_port
from tests.harness.process import BIN, environment

_PIPE_SIZE = 4096
"""Bytes that the kernel takes into a pipe which nobody reads: some forty lines of log."""


@contextmanager
def _stderr(kind: str) -> Iterator[int]:
    if kind == "full disk":
        files = [os.open("/dev/full", os.O_WRONLY)]
    else:
        files = list(os.pipe())
        fcntl.fcntl(files[1], fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        if kind == "closed pipe":
            os.close(files.pop(0))
    try:
        yield files[-1]
    finally:
        for file in files:
            os.close(file)


@pytest.mark.parametrize("kind", ["full disk", "closed pipe", "unread pipe"])
@pytest.mark.parametrize("shared_with_stdout", [False, True])
def test_requests_are_answered_and_sigterm_works(kind: str, shared_with_stdout: bool) -> None:
    port = free_port()
    with _stderr(kind) as file:
        process = subprocess.Popen(
            [str(BIN / "sharechat"), "serve", "--port", str(port), "--in-memory"],
            stdout=file if shared_with_stdout else subprocess.DEVNULL,
            stderr=file,
            env=environment(),
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url)
            for _ in range(100):
                assert fetch(f"{url}/api/room", "POST").status == 200
            assert fetch(f"{url}/api/healthz").status == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            process.wait()


def test_actors_outlive_a_restart_of_postgres_that_they_cannot_log(servers: Cluster) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with _stderr("full disk") as file:
        process = subprocess.Popen(
            [str(BIN / "sharechat"), "serve", "--port", str(port), *servers.flags],
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=environment(),
        )
        try:
            _wait_for(url)
            servers.postgres.stop()
            wait_until(lambda: fetch(f"{url}/api/room", "POST").status == 503)
            servers.postgres.start()
            wait_until(lambda: fetch(f"{url}/api/room", "POST").status == 200)
            room = make_room(url)
            assert fetch(f"{url}/api/serve/{room}", headers=HANDSHAKE).status == 101
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("kind", ["full disk", "closed pipe", "unread pipe"])
def test_an_error_at_the_start_ends_the_process(kind: str) -> None:
    with _stderr(kind) as file:
        if kind == "unread pipe":
            os.write(file, b"x" * _PIPE_SIZE)
        done = subprocess.run(
            [str(BIN / "sharechat"), "serve", "--host", "192.0.2.1"],
            stderr=file,
            env=environment(),
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == 2


def _wait_for(url: str) -> None:
    def answers() -> bool:
        try:
            return fetch(f"{url}/api/healthz").status == 200
        except OSError:
            return False

    wait_until(answers)
