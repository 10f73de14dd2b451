"""Ports for servers that have to be told one, and that may be started again on it."""

import socket
from random import SystemRandom

# Not the module's own, which hypothesis seeds: all processes of a run would get the same ports.
_random = SystemRandom()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses.

    The system takes the ports of outgoing connections from 32,768 on (ip_local_port_range), and
    would hand one of those to some client before the server is there, or while it is away.
    """
    while True:
        port = _random.randrange(10_000, 32_768)
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
