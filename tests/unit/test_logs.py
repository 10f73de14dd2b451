"""Logging: it neither raises nor waits, and logs a cause once."""

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
import structlog

from sharechat.logs import RepeatFilter
from sharechat.stderr import stderr_in_thread
from tests.harness.deadline import wait_until
from tests.unit.conftest import Logs


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


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


def filtered(filter_: RepeatFilter, **event: object) -> structlog.typing.EventDict | None:
    try:
        return filter_(None, "warning", event)
    except structlog.DropEvent:
        return None


def test_a_cause_is_logged_at_growing_intervals_with_the_number_of_its_repeats() -> None:
    clock = Clock()
    filter_ = RepeatFilter(clock)
    logged = []
    for second in range(3600):
        clock.now = second
        if line := filtered(filter_, event="cannot store", reason="disk full", waiting=second):
            logged.append((second, line.get("repeated", 0)))
    assert logged[:5] == [(0, 0), (10, 9), (30, 19), (70, 39), (150, 79)]
    assert all(after - before <= 600 for (before, _), (after, _) in pairwise(logged))
    clock.now += 10_000
    assert filtered(filter_, event="cannot store", reason="disk full") is not None
    clock.now += 10
    assert filtered(filter_, event="cannot store", reason="disk full") is not None


def test_every_cause_is_logged() -> None:
    filter_ = RepeatFilter(Clock())
    assert filtered(filter_, event="cannot store", reason="disk full")
    assert filtered(filter_, event="cannot store", reason="refused")
    assert filtered(filter_, event="cannot look", reason="refused")
    assert not filtered(filter_, event="cannot look", reason="refused")


def test_lines_without_a_cause_are_all_logged() -> None:
    filter_ = RepeatFilter(Clock())
    for _ in range(10):
        assert filtered(filter_, event="room created", room="x") == {
            "event": "room created",
            "room": "x",
        }


def fail(number: int) -> None:
    if number % 2:
        raise ValueError(number)
    raise ExceptionGroup("some", [OSError(number)])


def test_exceptions_from_the_same_line_are_one_cause() -> None:
    filter_ = RepeatFilter(Clock())
    logged = 0
    for number in range(20):
        try:
            fail(number)
        except* (OSError, ValueError) as error:
            logged += filtered(filter_, event="request failed", exc_info=error) is not None
            logged += filtered(filter_, event="request failed", exc_info=True) is not None
    assert logged == 2


def test_the_number_of_remembered_causes_is_bounded() -> None:
    clock = Clock()
    filter_ = RepeatFilter(clock)
    for number in range(1001):
        assert filtered(filter_, event="odd", reason=f"{number}")
    assert filtered(filter_, event="odd", reason="0")
    assert not filtered(filter_, event="odd", reason="1000")


@pytest.mark.parametrize("flag", ["True", "False"])
def test_a_traceback_shows_no_local_variables(flag: str) -> None:
    """In a process of its own, since logging is configured for the whole process."""
    program = f"""
import structlog
from sharechat import logs
from sharechat.stderr import stderr_in_thread
def connect(url):
    raise OSError("no route")
with stderr_in_thread():
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
