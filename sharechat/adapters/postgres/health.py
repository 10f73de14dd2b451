"""What is wrong with the database: logged in Postgres' own words, once a cause."""

import re

import psycopg
import structlog
import trio
from psycopg import errors

from sharechat.adapters.postgres.error_map import map_error
from sharechat.domain.errors import RejectedError

log = structlog.get_logger()

_QUIET = 5.0
"""Seconds without a failure after which a call that works ends an outage."""

_MAX_CAUSES = 20
"""How many causes one outage may log. Their texts come from the server."""


class Health:
    """Logs when an outage begins, each further cause in it, and its end.

    Some calls may fail while others work, for example on a full disk. So an outage has ended
    only if no call has failed for some seconds, and there is space on the disk.
    """

    def __init__(self, password: str = "") -> None:
        self.disk_full = False
        """Whether the server has reported that its disk is full, and `check` has not seen space
        on it since."""
        self._password = password
        self._causes: set[str] = set()
        self._failed_calls = 0
        self._failed_at = 0.0

    def record_failure(self, error: psycopg.Error) -> None:
        """Take the error of a call. Data that the database refuses is no failure."""
        if isinstance(map_error(error), RejectedError):
            return
        if isinstance(error, errors.DiskFull):
            self.disk_full = True
        self._failed_calls += 1
        self._failed_at = trio.current_time()
        reason = describe(error)
        if self._password:
            reason = reason.replace(self._password, "***")
        # Without the numbers of blocks, processes and so on, which differ each time.
        cause = re.sub(r"\d+", "", reason)
        if cause not in self._causes and len(self._causes) < _MAX_CAUSES:
            self._causes.add(cause)
            log.warning("database unavailable", reason=reason)

    def record_success(self) -> None:
        """Take it that a call has worked."""
        quiet = trio.current_time() - self._failed_at >= _QUIET
        if self._causes and quiet and not self.disk_full:
            log.info("database available again", failed_calls=self._failed_calls)
            self._causes.clear()
            self._failed_calls = 0


def describe(error: psycopg.Error) -> str:
    """Return the server's or libpq's own text, as one line."""
    words = (error.diag.message_primary, error.diag.message_hint)
    text = ". ".join(filter(None, words)) or str(error)
    return " ".join(text.split())
