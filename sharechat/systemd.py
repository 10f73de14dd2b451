"""What systemd and a service tell each other: sockets, readiness, and signs of life.

See sd_listen_fds(3), sd_notify(3) and sd_watchdog_enabled(3).
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress

import trio

READY = "READY=1"
STOPPING = "STOPPING=1"

_FIRST_FD = 3

_SOCKET = "NOTIFY_SOCKET"

OURS = (_SOCKET, "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""The variables that are meant for one process, and not for those that it starts."""


def passed_listener(environment: Mapping[str, str]) -> socket.socket | None:
    """Return the socket that was passed to this process, or None if there is none.

    Raises ValueError, with a sentence for the user, if it cannot be listened on, or if there
    are several.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return None
    if (count := environment.get("LISTEN_FDS")) != "1":
        raise ValueError(f"LISTEN_FDS is {count}: exactly one socket can be used.")
    os.set_inheritable(_FIRST_FD, False)
    sock = socket.socket(fileno=_FIRST_FD)
    if sock.type != socket.SOCK_STREAM:
        raise ValueError("The socket of LISTEN_FDS is no stream socket.")
    return sock


def notify(*assignments: str) -> None:
    """Tell systemd about this process, if systemd wants to know. It never waits or fails."""
    address = os.environ.get(_SOCKET)
    if not address:
        return
    if address.startswith("@"):  # Its name is not in the file system.
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto("\n".join(assignments).encode(), address)


def notify_reloading() -> None:
    """Tell that SIGHUP has come; READY tells that what it asks for has been done."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


async def keep_watchdog_quiet() -> None:
    """Tell systemd that the event loop turns, for as long as it asks for that."""
    environment = os.environ
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return
    microseconds = environment.get("WATCHDOG_USEC", "")
    while microseconds.isdecimal():
        notify("WATCHDOG=1")
        await trio.sleep(int(microseconds) / 2_000_000)
