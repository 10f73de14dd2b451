"""Logging: it neither raises nor waits, and drops what cannot be written."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sharechat.logs import stderr_in_thread
from tests.harness.deadline import wait_until
from tests.unit.conftest import Logs


@contextmanager
def replaceable(fd: int) -> Iterator[int]:
    """Yield a duplicate of `fd`, which the block may replace by another file."""
    copy = os.dup(fd)
    os.close(fd)
    yield copy
    os.close(copy)


def test_a_full_disk_raises_nothing_and_lost_lines_are_counted(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, written = [], []
    space = 3

    def write(fd: int, data: bytes) -> int:
        nonlocal space
        tried.append(bytes(data))
        if not space:
            raise OSError(errno.ENOSPC, "No space left on device")
        fits = bytes(data[:space])
        space -= len(fits)
        written.append(fits)
        return len(fits)

    monkeypatch.setattr(os, "write", write)
    with stderr_in_thread():
        for number in range(3):
            sys.stderr.write(f"line {number}\n")
        wait_until(lambda: len(tried) == 4)
        assert not logs
        space = 1000
        sys.stderr.write("line 3\n")
        wait_until(lambda: bool(logs))
    assert b"".join(written) == b"lin\nline 3\n"
    assert [(line["event"], line["count"]) for line in logs] == [("lines of log were lost", 3)]


def test_a_closed_pipe_raises_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with replaceable(writer) as fd, stderr_in_thread(fd):
        for _ in range(10):
            print("hello", file=sys.stderr)


def test_a_pipe_that_nobody_reads_blocks_nobody_and_lost_lines_are_counted(logs: Logs) -> None:
    reader, writer = os.pipe()
    line = "x" * 99_999 + "\n"
    received = b""
    with replaceable(writer) as fd, stderr_in_thread(fd):
        for _ in range(40):
            sys.stderr.write(line)
        while not logs:
            received += os.read(reader, 1 << 20)
        (loss,) = logs
        kept = 40 - loss["count"]
        while len(received) < kept * len(line):
            received += os.read(reader, 1 << 20)
    assert loss["event"] == "lines of log were lost"
    assert 10 <= kept < 20
    assert received == kept * line.encode()


def test_the_end_waits_a_second_for_a_pipe_that_nobody_reads() -> None:
    """Takes that second of real time."""
    reader, writer = os.pipe()
    thread: list[threading.Thread] = []
    with replaceable(writer) as fd:
        with stderr_in_thread(fd):
            sys.stderr.write("x" * 500_000)
            thread += [each for each in threading.enumerate() if each.name == "stderr"]
        assert thread[0].is_alive()
        os.close(reader)  # Which ends the thread.
        thread[0].join()


def test_what_was_written_has_been_written_at_the_end() -> None:
    reader, writer = os.pipe()
    with replaceable(writer) as fd, stderr_in_thread(fd):
        for number in range(100):
            print(number, "\ud800", file=sys.stderr)
    assert os.read(reader, 10_000).decode().splitlines() == [f"{n} \\ud800" for n in range(100)]


@pytest.mark.parametrize("flag", ["True", "False"])
def test_a_traceback_shows_no_local_variables(flag: str) -> None:
    """In a process of its own, since logging is configured for the whole process."""
    program = f"""
import structlog
from sharechat import logs
def connect(url):
    raise OSError("no route")
with logs.stderr_in_thread():
    logs.configure("info", json={flag})
    try:
        connect("se" + "cret")
    except OSError:
        structlog.get_logger().exception("failed")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True
    )
    assert "no route" in done.stderr
    assert "secret" not in done.stderr
