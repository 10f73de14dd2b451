"""Logging with structlog, to standard error."""

import logging
import os
import sys
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import structlog
from structlog.tracebacks import ExceptionDictTransformer

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
