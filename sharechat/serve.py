"""`sharechat serve`."""

import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import click
import structlog
import trio

from sharechat import logs, systemd, workers
from sharechat.bootstrap import Server, build
from sharechat.config import Settings, options
from sharechat.domain.errors import SharechatError
from sharechat.listening import (
    describe,
    open_listener,
    open_metrics_listener,
    read_certificate,
    reload_on_hangup,
)
from sharechat.net import acceptor
from sharechat.net.certificate import Certificate
from sharechat.options_only import OptionsOnly, cannot_start
from sharechat.stopping import Stop

log = structlog.get_logger()

_GC_THRESHOLD = 10_000
"""How many objects are made, and not freed, before the collector looks at the new ones."""


@click.command(cls=OptionsOnly, params=options())
def serve(**params: Any) -> None:
    """Run the server.

    It runs alone, with the rooms in a file (--data) or in memory (--in-memory); or, given
    --database-url and --redis-url, as one of any number of processes that serve the same rooms.
    SIGTERM, Ctrl-C or, without --certfile, SIGHUP stops it.
    """
    settings = Settings.from_params(params)
    logs.configure(settings.log_level, json=settings.log_json)
    inherited = workers.inherited_listener(os.environ)
    with inherited or open_listener(settings) as listener:
        if inherited:
            metrics = workers.inherited_metrics(os.environ)
        else:
            metrics = open_metrics_listener(settings)
        if inherited or settings.workers == 1:
            _serve_alone(settings, listener, metrics, is_worker=inherited is not None)
        else:
            _serve_by_workers(settings, listener, metrics)


def _serve_by_workers(
    settings: Settings, listener: socket.socket, metrics: socket.socket | None
) -> None:
    certificate = read_certificate(settings)  # Whatever is wrong is said once.
    supervise = partial(
        workers.supervise,
        listener,
        settings.workers,
        sys.argv[1:],
        partial(_greet, settings, listener),
        drain_delay=settings.drain_delay,
        pass_on_hangups=certificate is not None,
        metrics=metrics,
    )
    sys.exit(trio.run(supervise))


def _serve_alone(
    settings: Settings, listener: socket.socket, metrics: socket.socket | None, *, is_worker: bool
) -> None:
    _allow_many_sockets()
    certificate = read_certificate(settings)
    try:
        server = build(settings)
    except ValueError as error:
        raise cannot_start(error) from error
    # What has been imported stays. A full collection that looks at it takes some 50 ms.
    gc.freeze()
    # When many join at once nearly all that is new stays, and with Python's own threshold, 700, a
    # tenth of the time goes into looking at it again and again.
    gc.set_threshold(_GC_THRESHOLD)
    greet = partial(_greet, settings, listener)
    serve = partial(_run, server, listener, metrics, certificate, is_worker=is_worker)
    sys.exit(trio.run(partial(serve, greet=greet, drain_delay=settings.drain_delay)))


async def _run(
    server: Server,
    listener: socket.socket,
    metrics: socket.socket | None,
    certificate: Certificate | None,
    *,
    is_worker: bool,
    greet: Callable[[], None],
    drain_delay: float,
) -> int:
    """Serve until a signal comes or the actors fail; return the exit code.

    After a signal, everything is served for another `drain_delay` seconds, in which `/readyz`
    says no. Raises CannotStartError.
    """
    stop_signals = workers.stop_signals(hangup=certificate is None)
    for number in (*stop_signals, signal.SIGHUP):
        # So that a second signal changes nothing, even while the process comes to its end.
        signal.signal(number, signal.SIG_IGN)
    stop = Stop(drain_delay)
    running = failed = False

    async def run_actors(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal failed
        try:
            await server.run(task_status=task_status)
        except Exception:
            if not running:
                raise
            log.exception("the actors failed, stopping")
            failed = True
            stop.tell(at_once=True)

    started = partial(print, workers.READY, flush=True) if is_worker else greet
    with listener, trio.open_signal_receiver(*stop_signals) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(systemd.keep_watchdog_quiet)
            if certificate is not None:
                await nursery.start(reload_on_hangup, certificate)
            nursery.start_soon(stop.tell_after, signals.__anext__)
            if is_worker:
                parent_ended = partial(stop.tell_after, workers.parent_ended, at_once=True)
                nursery.start_soon(parent_ended)
            if metrics is not None:
                nursery.start_soon(partial(server.serve_metrics, metrics, is_worker=is_worker))
            failure = None
            with stop.starting:
                try:
                    await nursery.start(run_actors)
                    running = True
                except (SharechatError, ValueError) as error:
                    failure = error
            if running and not stop.told:
                await acceptor.serve(
                    server.app,
                    server.admission,
                    listener,
                    until=partial(stop.drained, server.health.drain),
                    drain=server.controller.stop,
                    started=started,
                    certificate=certificate,
                    telemetry=server.telemetry,
                )
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise cannot_start(failure) from failure
    return 1 if failed else 0


def _allow_many_sockets() -> None:
    """Raise the limit on open files as far as allowed: the usual 1,024 are few members."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _greet(settings: Settings, listener: socket.socket) -> None:
    url = describe(listener, secure=settings.certfile is not None)
    greeting = (
        f"{f'sharechat listens on {url}' if settings.no_page else f'sharechat: open {url}'}\n"
        f"Try it: websocat ws{url.removeprefix('http')}/api/serve/$(curl -sX POST "
        f"{url}/api/room | grep -oE '[0-9a-f-]{{36}}')\n"
    )
    if url.startswith("unix:"):
        greeting = f"sharechat listens on {url}\n"
    if settings.log_json:
        rooms = "database" if settings.database_url else str(settings.data_file)
        greeting = logs.json_line(
            "listening", url=url, rooms="memory" if settings.in_memory else rooms
        )
    elif settings.in_memory:
        greeting += "Everything is kept in memory, and gone when it stops.\n"
    elif not settings.database_url:
        greeting += f"The rooms are kept in {settings.data_file}\n"
    # The server serves even if its output is closed or on a full disk. Not by `print`, which
    # would keep the text, try again at the exit, and change the exit code.
    if sys.stdout is not None:
        with suppress(OSError):
            os.write(sys.stdout.fileno(), greeting.encode())
    systemd.notify(systemd.READY)
