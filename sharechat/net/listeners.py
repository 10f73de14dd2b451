"""Sockets that listen."""

import errno
import socket
import stat
from contextlib import suppress
from pathlib import Path

BACKLOG = 4096
"""How many connections may wait to be accepted: a whole room that comes back at once."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on host and port. Raises OSError."""
    family, type_, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, type_, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        return adopt(sock)
    except OSError:
        sock.close()
        raise


def bind_unix(path: Path) -> socket.socket:
    """Return a Unix socket that listens at `path`. Raises OSError.

    It takes the place of one that a process has left behind, but not of one on which somebody
    listens, nor of any other file. Who may connect is decided by the umask.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise FileExistsError(errno.EEXIST, "There is a file that is not a socket")
            if not _is_listening(path):
                path.unlink()
        sock.bind(str(path))
        return adopt(sock)
    except OSError:
        sock.close()
        raise


def adopt(sock: socket.socket) -> socket.socket:
    """Make a socket that has its address listen, without blocking. Raises OSError."""
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _is_listening(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # EAGAIN: somebody listens, and has much to accept.
        return probe.connect_ex(str(path)) != errno.ECONNREFUSED
