"""Socket options that tests set."""

import socket
import struct

import trio


def reset_on_close(stream: trio.SocketStream) -> None:
    """Make closing the stream reset the connection, without a FIN."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def shrink_receive_buffer(stream: trio.SocketStream, size: int = 4096) -> None:
    """Let the kernel buffer few bytes for a stream that nobody reads."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
