"""Several processes on one port: the parent listens, its workers accept."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog
import trio

log = structlog.get_logger()

READY = "ready"
"""The line that a worker writes to its standard output once it answers requests."""

_LISTEN_FD = "SHARECHAT_LISTEN_FD"
_RESTART_PAUSE = 1
_STOP_TIMEOUT = 15
"""Seconds until a worker that was told to stop is killed; longer than stopping takes."""


def inherited_listener(environment: Mapping[str, str]) -> socket.socket | None:
    """Return the listening socket that a parent left to this process, None if it is no worker."""
    fd = environment.get(_LISTEN_FD)
    return None if fd is None else socket.socket(fileno=int(fd))


async def parent_ended() -> None:
    """Wait, in a worker, until its parent is no more, however it ended."""
    await trio.lowlevel.wait_readable(sys.stdin.fileno())


async def supervise(
    listener: socket.socket, count: int, arguments: Sequence[str], started: Callable[[], None]
) -> int:
    """Run `count` workers until SIGTERM or SIGINT; return the exit code.

    A worker is `sharechat` with the same arguments; it finds `listener` by
    `inherited_listener`. `started()` is called once all are ready. A worker that dies is
    started again, but one that never gets ready ends everything, with its exit code. When
    told to stop, as when cancelled, every worker is told to, and waited for.
    """
    exit_codes: list[int] = []
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:

            async def keep_running(ready: trio.Event) -> None:
                code = await _keep_running(listener, arguments, ready)
                exit_codes.append(code)
                nursery.cancel_scope.cancel()

            async def announce(events: Sequence[trio.Event]) -> None:
                for event in events:
                    await event.wait()
                started()

            events = [trio.Event() for _ in range(count)]
            for event in events:
                nursery.start_soon(keep_running, event)
            nursery.start_soon(announce, events)
            await anext(signals)
            nursery.cancel_scope.cancel()
    return max(exit_codes, default=0)


async def _keep_running(
    listener: socket.socket, arguments: Sequence[str], ready: trio.Event
) -> int:
    """Run a worker, again and again; return its exit code if it ends before it was ever ready."""
    start = partial(
        trio.run_process,
        [sys.executable, "-m", "sharechat", *arguments],
        # A pipe that ends with this process: no worker outlives it, however it dies.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        env={**os.environ, _LISTEN_FD: str(listener.fileno())},
        check=False,
        deliver_cancel=_stop,
    )
    while True:
        async with trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(start)
            assert process.stdin is not None
            assert process.stdout is not None
            async with process.stdin, process.stdout:
                if await process.stdout.receive_some():
                    ready.set()
                exit_code = await process.wait()
        if not ready.is_set():
            return exit_code
        log.error("worker ended, starting it again", pid=process.pid, exit_code=exit_code)
        await trio.sleep(_RESTART_PAUSE)


async def _stop(process: trio.Process) -> None:
    process.terminate()
    await trio.sleep(_STOP_TIMEOUT)
    log.error("worker did not stop, killing it", pid=process.pid)
    process.kill()
