"""Whether the Queue works, and since when it does not."""

import structlog

from sharechat.domain.errors import UnavailableError

log = structlog.get_logger()


class Health:
    """Keeps what is wrong, for `check`, and logs a line when that begins and when it ends."""

    def __init__(self) -> None:
        self._reason: str | None = "it is not running"
        self._told = False

    @property
    def good(self) -> bool:
        return self._reason is None

    def lose(self, reason: str) -> None:
        """The Queue does not work, or still does not, because of `reason`."""
        self._reason = reason
        if not self._told:
            self._told = True
            log.warning("queue lost", reason=reason)

    def pending(self, reason: str) -> None:
        """The Queue does not work, but nothing is wrong with it."""
        self._reason = reason

    def regain(self, dropped: int) -> None:
        """The Queue works; `dropped` payloads have been dropped since this was last said."""
        if self._told:
            log.info("queue regained", dropped=dropped)
        elif dropped and self.good:
            log.warning("queue overloaded", dropped=dropped)
        self._reason = None
        self._told = False

    def check(self) -> None:
        """Raise UnavailableError unless the Queue works."""
        if self._reason is not None:
            raise UnavailableError(f"The Queue is away: {self._reason}.")
