"""How good the network to the simulated Redis is, all through a history."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from tests.simulation.history import BusKind


class Conditions(NamedTuple):
    """How slow the network is, and how many bytes the buffers hold."""

    latency: float = 0.001
    """Seconds that bytes travel to Redis."""
    latency_back: float = 0.001
    """Seconds that bytes travel from Redis."""
    send_buffer: int = 8 * 1024 * 1024
    """What waits in a process."""
    kernel: int = 64 * 1024
    """What the process's kernel takes."""
    output: float = math.inf
    """What Redis keeps for a subscriber before it closes the connection."""
    stranger: bool = False
    """Whether a client that is none of the processes publishes to the channels of the probes."""


CONDITIONS: Mapping[BusKind, Conditions] = {
    BusKind.REDIS: Conditions(),
    BusKind.FAR: Conditions(latency=0.1, latency_back=0.4, stranger=True),
    BusKind.NARROW: Conditions(kernel=100, output=1_500),
    BusKind.SMALL: Conditions(send_buffer=1_000, kernel=300),
}
