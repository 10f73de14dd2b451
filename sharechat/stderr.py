"""Standard error, written by a thread, so that it neither fails nor makes the caller wait."""

import io
import os
import queue
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from typing import TextIO, cast

_STDERR = 2

_MAX_WAITING = 1024 * 1024
"""Bytes that may wait to be written to standard error. What exceeds that is dropped."""

_FLUSH_TIMEOUT = 1.0
"""Seconds that the end of the program waits for what has yet to be written."""


@contextmanager
def stderr_in_thread(fd: int = _STDERR) -> Iterator[None]:
    """Let a thread write to standard error what the block writes to `sys.stderr`.

    The block never waits for a full pipe and never sees a full disk: what cannot be written
    is dropped and counted. At the end it waits for the thread, for a second at most. Tests
    pass another file descriptor than that of standard error.
    """
    if sys.stderr is None:  # It was closed; without this a socket could get its number.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDERR)
    writer = _ThreadedWriter(fd)
    # A daemon, because a thread that is stuck in a write must not delay the exit.
    thread = threading.Thread(target=writer.run, name="stderr", daemon=True)
    thread.start()
    try:
        with redirect_stderr(cast(TextIO, writer)):
            yield
    finally:
        writer.finish()
        thread.join(_FLUSH_TIMEOUT)


class _ThreadedWriter(io.TextIOBase):
    """A text stream whose `write` neither waits nor raises; `run` does the writing to `fd`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        # Unlike a Queue, it may be used within a signal handler or a destructor.
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # Each counter has one writer, so they need no lock: callers change the first two,
        # and the thread the others.
        self._bytes_taken_in = 0
        self._dropped = 0
        self._bytes_done = 0
        self._failed = 0
        self._reported = 0
        # Whether the last write ended in the middle of a line.
        self._torn = False

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, text: str) -> int:
        data = text.encode(errors="backslashreplace")
        if self._bytes_taken_in - self._bytes_done + len(data) > _MAX_WAITING:
            self._dropped += 1
        else:
            self._bytes_taken_in += len(data)
            self._waiting.put(data)
        return len(text)

    def finish(self) -> None:
        """Let `run` return once it has written everything that waits."""
        self._waiting.put(None)

    def run(self) -> None:
        """Write until `finish` is called. What cannot be written is dropped and counted."""
        while (data := self._waiting.get()) is not None:
            try:
                self._write_all(b"\n" + data if self._torn else data)
            except OSError:
                self._failed += 1
            else:
                self._report_loss()
            self._bytes_done += len(data)

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:  # Whoever shares the file made it non-blocking.
                    select.select([], [self._fd], [])
        finally:
            if len(rest) < len(data):
                self._torn = len(rest) > 0

    def _report_loss(self) -> None:
        lost = self._dropped + self._failed - self._reported
        # While much still waits, the report itself might be dropped.
        if lost and self._bytes_taken_in - self._bytes_done < _MAX_WAITING / 2:
            self._reported += lost
            # Imported here, since a client logs nothing and is to start fast.
            import structlog

            structlog.get_logger().error("lines of log were lost", count=lost)
