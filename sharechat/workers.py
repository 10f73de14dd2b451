"""Several processes on one port: the parent listens, its workers accept connections."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from functools import partial

import click
import structlog
import trio

from sharechat import systemd

log = structlog.get_logger()

READY = "ready"
"""The line that a worker writes to its standard output once it answers requests."""

_LISTEN_FD = "SHARECHAT_LISTEN_FD"
"""The environment variable that tells a worker the number of the listening socket."""

_METRICS_FD = "SHARECHAT_METRICS_FD"
"""The environment variable that tells a worker the number of its socket for metrics."""

_RESTART_DELAY = 1
"""Seconds from the end of a worker to its restart."""

_STOP_TIMEOUT = 15
"""Seconds until a worker that was told to stop is killed, besides the time in which it drains.

A worker stops within 10 seconds.
"""


def inherited_listener(environment: Mapping[str, str]) -> socket.socket | None:
    """Return the listening socket of this worker's parent, or None if this is not a worker."""
    fd = environment.get(_LISTEN_FD)
    return None if fd is None else socket.socket(fileno=int(fd))


def inherited_metrics(environment: Mapping[str, str]) -> socket.socket | None:
    """Return the socket on which this worker shows its metrics to its parent, if it is to."""
    fd = environment.get(_METRICS_FD)
    return None if fd is None else socket.socket(fileno=int(fd))


def stop_signals(*, hangup: bool = True) -> list[signal.Signals]:
    """Return the signals that tell a process to stop.

    The end of a terminal (SIGHUP) does, unless it is ignored: `nohup` keeps a process running.
    Without `hangup` SIGHUP means something else.
    """
    if not hangup or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return [signal.SIGTERM, signal.SIGINT]
    return [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


async def parent_ended() -> None:
    """Wait, in a worker, until the parent process has ended for whatever reason."""
    await trio.lowlevel.wait_readable(sys.stdin.fileno())
    log.warning("the parent process has ended")


class _Hangups:
    """Passes SIGHUP on to the workers: to those that start after they are ready."""

    def __init__(self) -> None:
        self.count = 0
        self._ready: set[trio.Process] = set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Pass signals on until cancelled."""
        with trio.open_signal_receiver(signal.SIGHUP) as hangups:
            task_status.started()
            async for _ in hangups:
                systemd.notify_reloading()
                self.count += 1
                for process in self._ready:
                    process.send_signal(signal.SIGHUP)
                systemd.notify(systemd.READY)

    @contextmanager
    def passed_on_to(self, process: trio.Process, *, since: int) -> Iterator[None]:
        """Pass signals on to `process` in the block, and one at once if `count` was less."""
        if since < self.count:
            process.send_signal(signal.SIGHUP)
        self._ready.add(process)
        try:
            yield
        finally:
            self._ready.remove(process)


async def supervise(
    listener: socket.socket,
    count: int,
    arguments: Sequence[str],
    started: Callable[[], None],
    *,
    drain_delay: float = 0,
    pass_on_hangups: bool = False,
    metrics: socket.socket | None = None,
) -> int:
    """Run `count` workers until one of `stop_signals` comes; return the exit code.

    A worker is a process that runs `sharechat` with `arguments`. It gets `listener` from
    `inherited_listener`. Calls `started()` once all workers are ready. A worker that ends is
    started again; but if a worker ends before it was ever ready, all others are stopped and
    its exit code is returned. On a signal, and if cancelled, the workers are told to stop and
    this function waits for them: `drain_delay` seconds longer than a worker takes to stop. With
    `pass_on_hangups` SIGHUP is not one of them, but goes to the workers. With `metrics`, a
    listening socket, it shows on that the metrics of all workers.

    Raises click.ClickException if the sockets that this takes cannot be made.
    """
    inherited = [{_LISTEN_FD: listener.fileno()} for _ in range(count)]
    run = partial(_supervise, inherited, arguments, started, drain_delay, pass_on_hangups)
    if metrics is None:
        return await run()
    # What a server does not use is not imported.
    from sharechat.adapters.prometheus import WorkerMetrics

    with ExitStack() as stack:
        try:
            shown = stack.enter_context(WorkerMetrics.open(count))
        except OSError as error:
            raise click.ClickException(f"cannot collect metrics from workers: {error}") from error
        for fds, sock in zip(inherited, shown.sockets, strict=True):
            fds[_METRICS_FD] = sock.fileno()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shown.serve, metrics)
            exit_code = await run()
            nursery.cancel_scope.cancel()
    return exit_code


async def _supervise(
    inherited: Sequence[Mapping[str, int]],
    arguments: Sequence[str],
    started: Callable[[], None],
    drain_delay: float,
    pass_on_hangups: bool,
) -> int:
    """Do what `supervise` does; `inherited` has the sockets of each worker."""
    exit_codes: list[int] = []
    hangups = _Hangups()
    with trio.open_signal_receiver(*stop_signals(hangup=not pass_on_hangups)) as signals:
        async with trio.open_nursery() as nursery:

            async def keep_running(fds: Mapping[str, int], ready: trio.Event) -> None:
                code = await _keep_running(fds, arguments, ready, drain_delay, hangups)
                exit_codes.append(code)
                nursery.cancel_scope.cancel()

            async def announce(events: Sequence[trio.Event]) -> None:
                for event in events:
                    await event.wait()
                started()

            if pass_on_hangups:
                await nursery.start(hangups.run)
            nursery.start_soon(systemd.keep_watchdog_quiet)
            events = [trio.Event() for _ in inherited]
            for fds, event in zip(inherited, events, strict=True):
                nursery.start_soon(keep_running, fds, event)
            nursery.start_soon(announce, events)
            await anext(signals)
            systemd.notify(systemd.STOPPING)
            nursery.cancel_scope.cancel()
    return max(exit_codes, default=0)


async def _keep_running(
    inherited: Mapping[str, int],
    arguments: Sequence[str],
    ready: trio.Event,
    drain_delay: float,
    hangups: _Hangups,
) -> int:
    """Run one worker, restarting it when it ends.

    `inherited` has the sockets that it gets, by the environment variable that tells their number.
    Sets `ready` once the worker is ready. Returns its exit code if it ends before that.
    """
    theirs = {name: value for name, value in os.environ.items() if name not in systemd.OURS}
    start = partial(
        trio.run_process,
        [sys.executable, "-m", "sharechat", *arguments],
        # The pipe closes when this process ends, even if it is killed; see `parent_ended`.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=list(inherited.values()),
        env={**theirs, **{name: str(fd) for name, fd in inherited.items()}},
        check=False,
        deliver_cancel=partial(_terminate, patience=drain_delay + _STOP_TIMEOUT),
    )
    while True:
        before = hangups.count
        # The pipes outlast the worker: one that was told to stop would take the end of its input
        # for the end of this process, and not drain.
        async with AsyncExitStack() as pipes, trio.open_nursery() as nursery:
            process: trio.Process = await nursery.start(start)
            assert process.stdin is not None
            assert process.stdout is not None
            await pipes.enter_async_context(process.stdin)
            await pipes.enter_async_context(process.stdout)
            if await process.stdout.receive_some():
                ready.set()
                with hangups.passed_on_to(process, since=before):
                    exit_code = await process.wait()
            else:
                exit_code = await process.wait()
        if not ready.is_set():
            return exit_code
        log.error("worker ended, restarting it", pid=process.pid, exit_code=exit_code)
        await trio.sleep(_RESTART_DELAY)


async def _terminate(process: trio.Process, patience: float) -> None:
    """Stop a worker, killing it after `patience` seconds. Trio cancels this once it has ended."""
    process.terminate()
    await trio.sleep(patience)
    log.error("worker did not stop, killing it", pid=process.pid)
    process.kill()
