"""A limit on how often something may be done."""


class TokenBucket:
    """Allows `burst` at once, then `rate` a second; a rate of 0 sets no limit."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled_at: float | None = None

    def take(self, now: float) -> float:
        """Take one token at time `now`; return how many seconds to wait before using it."""
        if not self._rate:
            return 0
        self._fill(now)
        self._tokens -= 1
        return max(0, -self._tokens / self._rate)

    def take_now(self, now: float) -> float:
        """Take one token if there is one; return in how many seconds there is one, 0 if taken."""
        if not self._rate:
            return 0
        self._fill(now)
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0

    def _fill(self, now: float) -> None:
        if self._filled_at is not None:
            earned = (now - self._filled_at) * self._rate
            self._tokens = min(self._burst, self._tokens + earned)
        self._filled_at = now
