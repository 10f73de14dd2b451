"""Ports for servers that have to be told one, and that may be started again on it."""

import os
import re
import socket
from random import SystemRandom

_FIRST, _LAST = 10_000, 32_768
"""The system takes the ports of outgoing connections from the latter on (ip_local_port_range), and
would hand one of those to some client before the server is there, or while it is away."""

_PARTS = 8
"""Each process of a run of the tests has a part of its own, or others would take a port between its
being found and its being used. The last part is that of all else."""

# Not the module's own generator, which hypothesis seeds.
_tried = SystemRandom().randrange((_LAST - _FIRST) // _PARTS)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses, and that has not just been returned."""
    global _tried
    worker = re.fullmatch(r"gw(\d+)", os.environ.get("PYTEST_XDIST_WORKER", ""))
    part = int(worker[1]) % (_PARTS - 1) if worker else _PARTS - 1
    size = (_LAST - _FIRST) // _PARTS
    while True:
        _tried = (_tried + 1) % size
        port = _FIRST + part * size + _tried
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
