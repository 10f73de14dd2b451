"""What tests set on sockets, and what the kernel says about them."""

import socket
import struct
from pathlib import Path

from tests.harness.tls import ClientStream


def reset_on_close(stream: ClientStream) -> None:
    """Make closing the stream reset the connection, without a FIN."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def shrink_receive_buffer(stream: ClientStream, size: int = 4096) -> None:
    """Let the kernel buffer few bytes for a stream that nobody reads."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def held_by_kernel(port: int) -> list[int]:
    """Return how many bytes the kernel holds for each client of a server on an IPv4 port.

    That is the `tx_queue` of /proc/net/tcp: what has been written and not been acknowledged.
    """
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    ours = f":{port:04X}"
    established = "01"
    return [
        int(row[4].split(":")[0], 16)
        for row in rows
        if row[1].endswith(ours) and row[3] == established
    ]
