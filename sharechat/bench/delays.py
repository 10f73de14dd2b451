"""How long deliveries took: counts by bucket, since there may be hundreds of millions of them."""

from collections import Counter
from math import exp, log

_STEPS = 100
"""Buckets in which the time grows by a factor of e: each is 1 % wide."""

Delays = Counter[int]
"""How many deliveries there were in each bucket."""


def bucket(microseconds: int) -> int:
    """Return the bucket of a delay; whatever is shorter than a microsecond counts as one."""
    return int(log(microseconds) * _STEPS) if microseconds > 1 else 0


def percentile(delays: Delays, share: float) -> float:
    """Return the seconds within which this share of the deliveries was made, to within 1 %.

    `delays` must not be empty.
    """
    left = share * delays.total()
    for number in sorted(delays):
        left -= delays[number]
        if left <= 0:
            break
    return exp((number + 1) / _STEPS) / 1_000_000
