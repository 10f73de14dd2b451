"""Lets connections run over simulated sockets, with buffers that a history can fill."""

import fcntl
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import trio

from sharechat.net import direct_connection
from tests.simulation.sockets import SimSocket


@contextmanager
def simulated_network() -> Iterator[None]:
    """Let connections use simulated sockets in the block, with buffers that histories can fill."""
    with (
        simulated_sockets(),
        mock.patch.object(direct_connection, "BUFFER", 1000),
        # None are dropped, so that a client whose ping is not answered is a violation.
        mock.patch.object(direct_connection, "_MOST_CONTROL", 1 << 20),
        mock.patch.object(direct_connection, "MAX_HELD_BACK", 1500),
    ):
        yield


@contextmanager
def simulated_sockets() -> Iterator[None]:
    """Let what waits for sockets, or asks the kernel about them, accept a SimSocket too."""
    real = trio.lowlevel.wait_readable, trio.lowlevel.wait_writable, trio.lowlevel.notify_closing
    wait_readable, wait_writable, notify_closing = real
    ioctl = fcntl.ioctl

    async def sim_wait_readable(sock: Any) -> None:
        await (sock.wait_readable() if isinstance(sock, SimSocket) else wait_readable(sock))

    async def sim_wait_writable(sock: Any) -> None:
        await (sock.wait_writable() if isinstance(sock, SimSocket) else wait_writable(sock))

    def sim_notify_closing(sock: Any) -> None:
        if isinstance(sock, SimSocket):
            sock.notify_closing()
        else:
            notify_closing(sock)

    def sim_ioctl(sock: Any, request: int, *rest: Any) -> Any:
        if not isinstance(sock, SimSocket):
            return ioctl(sock, request, *rest)
        assert request == termios.TIOCOUTQ
        return sock.unacknowledged.to_bytes(4, sys.byteorder)

    with (
        mock.patch.object(trio.lowlevel, "wait_readable", sim_wait_readable),
        mock.patch.object(trio.lowlevel, "wait_writable", sim_wait_writable),
        mock.patch.object(trio.lowlevel, "notify_closing", sim_notify_closing),
        mock.patch.object(fcntl, "ioctl", sim_ioctl),
    ):
        yield
