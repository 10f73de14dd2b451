"""Logging with structlog, to standard error. It neither fails nor makes the caller wait."""

import io
import logging
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import TextIO, cast

import structlog
from structlog.tracebacks import ExceptionDictTransformer

log = structlog.get_logger()

_STDERR = 2

_MAX_WAITING = 1024 * 1024
"""Bytes that may wait to be written to standard error. What exceeds that is dropped."""

_FLUSH_TIMEOUT = 1.0
"""Seconds that the end of the program waits for what has yet to be written."""

_MIN_INTERVAL = 10.0
"""Seconds from the first line about a cause to the second, at least."""

_MAX_INTERVAL = 600.0
"""Seconds between two lines about a cause that persists, at most."""

_MAX_CAUSES = 1000
"""How many causes are remembered; beyond that the one seen longest ago is forgotten."""


def configure(level: str, *, json: bool) -> None:
    """Configure logging for the whole process.

    Logs events of `level` (a name such as "info") and above, as JSON or as text for people.
    """
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    # Local variables may hold passwords.
    tracebacks = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _add_pid,
            RepeatFilter(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([tracebacks] if json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def _add_pid(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    event["pid"] = os.getpid()
    return event


def json_line(event: str, **values: object) -> str:
    """Return a line as the log has it in JSON, for the greeting, which goes elsewhere."""
    line: structlog.typing.EventDict = {"event": event, "level": "info", **values}
    line = _add_pid(None, "info", line)
    line = structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "info", line)
    return str(structlog.processors.JSONRenderer()(None, "info", line)) + "\n"


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
            log.error("lines of log were lost", count=lost)


@dataclass
class _Seen:
    """When a cause may be logged again."""

    next_at: float
    interval: float
    repeated: int = 0


class RepeatFilter:
    """A structlog processor that logs a cause once instead of each time it has an effect.

    Lines have the same cause if they have the same event and the same `reason`, or an
    exception of the same type from the same line of code. While a cause persists it is logged
    after 10 seconds, 20, 40 and so on, at least every 10 minutes. `repeated` in such a line is
    the number of lines that were dropped since the one before. Other lines are all logged.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Hashable, _Seen] = {}

    def __call__(
        self, _logger: object, _method: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        cause = _cause(event)
        if cause is None:
            return event
        now = self._clock()
        # Put back last, so that the first one is the one seen longest ago.
        seen = self._seen[cause] = self._seen.pop(cause, _Seen(now, 0))
        if len(self._seen) > _MAX_CAUSES:
            del self._seen[next(iter(self._seen))]
        if now < seen.next_at:
            seen.repeated += 1
            raise structlog.DropEvent
        if seen.repeated:
            event["repeated"] = seen.repeated
        over = now >= seen.next_at + seen.interval
        interval = _MIN_INTERVAL if over else min(2 * seen.interval, _MAX_INTERVAL)
        self._seen[cause] = _Seen(now + interval, interval)
        return event


def _cause(event: structlog.typing.EventDict) -> Hashable | None:
    error = event.get("exc_info")
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, BaseException):
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return event["event"], event.get("actor"), type(error), _place(error)
    return (event["event"], event["reason"]) if "reason" in event else None


def _place(error: BaseException) -> tuple[str, int] | None:
    """Return the file and the line that raised `error`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
