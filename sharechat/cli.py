"""The `sharechat` command."""

import os
import resource
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import click
import structlog
import trio

from sharechat import logs, workers
from sharechat.bootstrap import Server, build, open_stores
from sharechat.config import Settings, options
from sharechat.domain.errors import SharechatError
from sharechat.net import acceptor
from sharechat.stopping import Stop

log = structlog.get_logger()


class CannotStartError(click.ClickException):
    """Something outside the program keeps the server from starting."""


class _Command(click.Command):
    """A command that takes options only."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Not shown, since it may be the rest of a password that the shell took for two words.
        if super().parse_args(ctx, args):
            ctx.fail("There is something that is not an option. Quote a value that has spaces.")
        return []


class _Commands(click.Group):
    """The commands; those that a server has no use for are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "backup", "bench", "join", "new"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "backup":
            from sharechat.backup import backup

            return backup
        if cmd_name == "bench":
            from sharechat.bench.command import bench

            return bench
        if cmd_name in ("join", "new"):
            from sharechat.client.terminal.command import join_command, new_command

            return join_command if cmd_name == "join" else new_command
        command = super().get_command(ctx, cmd_name)
        if command is None:
            # Not shown, since it may be a database's URL with its password.
            names = ", ".join(self.list_commands(ctx))
            ctx.fail(f"There is no such command. The commands are: {names}.")
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sharechat")
def cli() -> None:
    """An anonymous chat server: make a room with one POST, join it with one websocket."""


def _serve(**params: Any) -> None:
    """Serve until SIGTERM, SIGHUP or Ctrl-C.

    Alone, with the rooms in a file (--data) or in memory (--in-memory); or, given --database-url
    and --redis-url, as one of any number of processes that serve the same rooms.
    """
    settings = Settings.from_params(params)
    logs.configure(settings.log_level, json=settings.log_json)
    listener = workers.inherited_listener(os.environ)
    if listener is not None:
        metrics = workers.inherited_metrics(os.environ)
        _serve_alone(settings, listener, metrics, is_worker=True)
        return
    listener = _listen(settings.host, settings.port)
    metrics = _listen_for_scrapes(settings)
    if settings.workers == 1:
        _serve_alone(settings, listener, metrics, is_worker=False)
        return
    greet = partial(_greet, settings, listener)
    arguments = sys.argv[1:]
    supervise = partial(workers.supervise, drain_delay=settings.drain_delay)
    sys.exit(trio.run(supervise, listener, metrics, settings.workers, arguments, greet))


def _migrate(**params: Any) -> None:
    """Bring the database's schema up to date, as `serve` does when it starts."""
    settings = Settings.from_params(params)
    logs.configure(settings.log_level, json=settings.log_json)
    if not settings.database_url:
        raise click.UsageError("--database-url (DATABASE_URL) is missing: there is no database.")
    try:
        trio.run(open_stores(settings).prepare)
    except (SharechatError, ValueError) as error:
        raise _cannot_start(error) from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        return acceptor.bind(host, port)
    except (OSError, UnicodeError) as error:  # UnicodeError: the name cannot be a host's.
        reason = getattr(error, "strerror", None) or error
        raise CannotStartError(f"cannot listen on {host}:{port}: {reason}") from error


def _listen_for_scrapes(settings: Settings) -> socket.socket | None:
    if settings.metrics is None:
        return None
    host, port = settings.metrics
    listener = _listen(host, port)
    log.info("metrics are served", host=host, port=listener.getsockname()[1], path="/metrics")
    return listener


def _cannot_start(error: Exception) -> CannotStartError:
    # Clients are told only `error`; whoever runs the server needs the vendor's reason as well.
    reason = " ".join(str(error.__cause__ or "").split())
    return CannotStartError(f"{error} {reason}".rstrip())


def _serve_alone(
    settings: Settings, listener: socket.socket, metrics: socket.socket | None, *, is_worker: bool
) -> None:
    _allow_many_sockets()
    try:
        server = build(settings)
    except ValueError as error:
        raise _cannot_start(error) from error
    greet = partial(_greet, settings, listener)
    drain_delay = settings.drain_delay
    sys.exit(trio.run(_run, server, listener, metrics, is_worker, greet, drain_delay))


async def _run(
    server: Server,
    listener: socket.socket,
    metrics: socket.socket | None,
    is_worker: bool,
    greet: Callable[[], None],
    drain_delay: float,
) -> int:
    """Serve until a signal comes or the actors fail; return the exit code.

    After a signal, everything is served for another `drain_delay` seconds, in which `/readyz`
    says no. Raises CannotStartError.
    """
    stop_signals = workers.stop_signals()
    for number in stop_signals:
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
                    telemetry=server.telemetry,
                )
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise _cannot_start(failure) from failure
    return 1 if failed else 0


def _allow_many_sockets() -> None:
    """Raise the limit on open files as far as allowed: the usual 1,024 are few members."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _greet(settings: Settings, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    url = f"http://{shown}:{port}"
    greeting = (
        f"{f'sharechat listens on {url}' if settings.no_page else f'sharechat: open {url}'}\n"
        f"Try it: websocat ws://{shown}:{port}/api/serve/$(curl -sX POST "
        f"{url}/api/room | grep -oE '[0-9a-f-]{{36}}')\n"
    )
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


for _run_command in (_serve, _migrate):
    cli.add_command(
        _Command(
            _run_command.__name__[1:],
            callback=_run_command,
            params=options(),
            help=_run_command.__doc__,
        )
    )


def main() -> None:
    """Run the command; whatever is wrong with its use is one line, and exit code 2."""
    with logs.stderr_in_thread():
        try:
            sys.exit(cli.main(standalone_mode=False))
        except click.ClickException as error:
            print(f"sharechat: {error.format_message()}", file=sys.stderr)
            sys.exit(2)
        except click.Abort:
            sys.exit(130)
        except Exception:  # noqa: BLE001 - it ends the program, as it would by itself
            # But Python would write it to a pipe that nobody may be reading, and wait.
            traceback.print_exc()
            sys.exit(1)
