"""Whether the Queue works, and why not."""

import structlog

from sharechat.adapters.redis.protocol import ConnectionFailedError
from sharechat.domain.errors import UnavailableError

log = structlog.get_logger()


class Health:
    """Remembers why the Queue does not work, and logs when an outage begins and ends."""

    def __init__(self) -> None:
        self._reason: str | None = "it is not running"
        self._outage_logged = False

    @property
    def working(self) -> bool:
        return self._reason is None

    def set_failed(self, reason: str) -> None:
        """Record that the Queue does not work, and why. Logs the first failure of an outage."""
        self._reason = reason
        if not self._outage_logged:
            self._outage_logged = True
            log.warning("queue unavailable", reason=reason)

    def set_pending(self, reason: str) -> None:
        """Record that the Queue does not work yet, or no longer, without a failure."""
        self._reason = reason

    def set_working(self, dropped: int) -> None:
        """Record that the Queue works.

        `dropped` is the number of publications that were dropped since the last call.
        """
        if self._outage_logged:
            log.info("queue available again", dropped=dropped)
        elif dropped and self.working:
            log.warning("queue overloaded", dropped=dropped)
        self._reason = None
        self._outage_logged = False

    def check(self) -> None:
        """Return if the Queue works; raise UnavailableError, caused by the reason, if not.

        Clients may see the error's text, and the reason may name Redis' address.
        """
        if self._reason is not None:
            raise UnavailableError("The Queue is unavailable.") from ConnectionFailedError(
                self._reason
            )
