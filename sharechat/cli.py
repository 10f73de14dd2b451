"""The `sharechat` command."""

import os
import resource
import signal
import socket
import sys
from functools import partial
from typing import Any

import click
import trio

from sharechat import logs, workers
from sharechat.bench.command import bench
from sharechat.bootstrap import create_app, make_parts
from sharechat.config import Settings, options
from sharechat.domain.errors import SharechatError
from sharechat.net import acceptor as server


class CannotStartError(click.ClickException):
    """Something outside is not as it should be."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sharechat")
def cli() -> None:
    """An anonymous chat server: make a room with one POST, join it with one websocket."""


def _serve(**params: Any) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Alone, with everything in memory; or, given --database-url and --redis-url, as one of
    any number of processes that serve the same rooms.
    """
    settings = Settings.from_params(params)
    logs.configure(settings.log_level, json=settings.log_json)
    listener = workers.inherited_listener(os.environ)
    if listener is not None:
        _serve_alone(settings, listener, is_worker=True)
        return
    listener = _listen(settings)
    if settings.workers == 1:
        _serve_alone(settings, listener, is_worker=False)
        return
    greet = partial(_greet, listener)
    arguments = sys.argv[1:]
    sys.exit(trio.run(workers.supervise, listener, settings.workers, arguments, greet))


def _migrate(**params: Any) -> None:
    """Bring the database's schema up to date, as `serve` does when it starts."""
    settings = Settings.from_params(params)
    logs.configure(settings.log_level, json=settings.log_json)
    if not settings.database_url:
        raise click.UsageError("--database-url (DATABASE_URL) is missing: there is no database.")
    _prepare(settings)


def _listen(settings: Settings) -> socket.socket:
    try:
        return server.bind(settings.host, settings.port)
    except (OSError, UnicodeError) as error:  # The latter for names that cannot be a host's.
        where = f"{settings.host}:{settings.port}"
        reason = getattr(error, "strerror", None) or error
        raise CannotStartError(f"cannot listen on {where}: {reason}") from error


def _prepare(settings: Settings) -> None:
    """Find out early, and say in one line, whether the adapters can be used."""
    try:
        trio.run(make_parts(settings).prepare)
    except (SharechatError, ValueError) as error:
        # Clients are told that much; who runs the server needs the vendor's reason as well.
        reason = str(error.__cause__ or "").partition("\n")[0]
        raise CannotStartError(f"{error} {reason}".rstrip()) from error


def _serve_alone(settings: Settings, listener: socket.socket, *, is_worker: bool) -> None:
    _prepare(settings)
    _allow_many_sockets()
    app = create_app(settings)

    async def run() -> None:
        # So that a second signal changes nothing, also while the process comes to its end.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:

            async def until() -> None:
                async with trio.open_nursery() as nursery:
                    if is_worker:
                        nursery.start_soon(_then_cancel, nursery)
                    await anext(signals)
                    nursery.cancel_scope.cancel()

            started = partial(print, workers.READY, flush=True)
            await server.serve(
                app,
                app.extensions["controller"],
                app.extensions["admission"],
                listener,
                until=until,
                started=started if is_worker else partial(_greet, listener),
            )

    trio.run(run)


def _allow_many_sockets() -> None:
    """Raise the limit on open files as far as allowed: the usual 1,024 are few members."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _then_cancel(nursery: trio.Nursery) -> None:
    await workers.parent_ended()
    nursery.cancel_scope.cancel()


def _greet(listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    print(f"sharechat listens on http://{shown}:{port}")
    print(
        f"Try it: websocat ws://{shown}:{port}/api/serve/$(curl -sX POST "
        f"http://{shown}:{port}/api/room | grep -oE '[0-9a-f-]{{36}}')",
        flush=True,
    )


for _run in (_serve, _migrate):
    cli.add_command(
        click.Command(_run.__name__[1:], callback=_run, params=options(), help=_run.__doc__)
    )


cli.add_command(bench)


def main() -> None:
    """Run the command; whatever is wrong with its use is one line, and exit code 2."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        print(f"sharechat: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
