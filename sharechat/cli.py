"""The `sharechat` command."""

import sys
from functools import partial
from typing import Any

import click
import trio

from sharechat import logs
from sharechat.bootstrap import create_app
from sharechat.config import Settings, options
from sharechat.web import server


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sharechat")
def cli() -> None:
    """An anonymous chat server: make a room with one POST, join it with one websocket."""


def _serve(**params: Any) -> None:
    """Serve until SIGTERM or Ctrl-C, in one process, with everything in memory."""
    settings = Settings.from_params(params)
    logs.configure(settings.log_level, json=settings.log_json)
    try:
        sock = server.bind(settings.host, settings.port)
    except OSError as error:
        reason = error.strerror or str(error)
        raise click.UsageError(
            f"cannot listen on {settings.host}:{settings.port}: {reason}"
        ) from error
    app = create_app(settings)
    host, port = sock.getsockname()[:2]
    trio.run(
        partial(
            server.serve,
            app,
            app.extensions["controller"],
            sock,
            started=partial(_greet, host, port),
        )
    )


def _greet(host: str, port: int) -> None:
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104
    shown = f"[{shown}]" if ":" in shown else shown
    print(f"sharechat listens on http://{shown}:{port}")
    print(
        f"Try it: websocat ws://{shown}:{port}/api/serve/$(curl -sX POST "
        f"http://{shown}:{port}/api/room | grep -oE '[0-9a-f-]{{36}}')",
        flush=True,
    )


cli.add_command(click.Command("serve", callback=_serve, params=options(), help=_serve.__doc__))


def main() -> None:
    """Run the command; whatever is wrong with its use is one line, and exit code 2."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        print(f"sharechat: {error.format_message()}", file=sys.stderr)
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
