"""Members that never read."""

import socket
from typing import Self

from tests.harness.deadline import DEADLINE
from tests.harness.peer import upgrade
from tests.harness.process import SharechatProcess


class StalledMembers:
    """Members that never read, with the smallest kernel buffers possible.

    As a context manager it closes their sockets at the end.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets:
            sock.close()

    def join(self, server: SharechatProcess, room: str, count: int) -> None:
        """Let `count` members join, blocking."""
        for _ in range(count):
            self._sockets.append(_join(server, room))


def _join(server: SharechatProcess, room: str) -> socket.socket:
    sock = socket.socket()
    try:
        sock.settimeout(DEADLINE)
        # Before connecting: if the window shrinks later, the kernel drops what it receives.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        # With the loopback's large segments the kernel would buffer 2.5 MB at the server's end.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(upgrade(f"/api/serve/{room}"))
        assert sock.recv(12) == b"HTTP/1.1 101"
    except BaseException:
        sock.close()
        raise
    return sock
