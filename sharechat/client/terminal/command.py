"""`sharechat join` and `sharechat new`."""

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NoReturn

import click
import trio

from sharechat.client.addresses import RoomAddress, Server, is_room_id
from sharechat.client.errors import ClientError
from sharechat.client.rest import NewRoom, create_room
from sharechat.client.terminal.lines import run_lines, tell

DEFAULT_SERVER = "http://127.0.0.1:8080"

_EXIT_CODES = """\b
Exit codes:
  0    you left, or everything on standard input is stored
  1    there is no such room, no connection could be had or kept,
       or something that was said is not stored
  2    wrong use
  130  interrupted (in general, 128 and the signal's number)
"""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--bell", is_flag=True, help="Ring the bell when others say something."),
        click.option(
            "--patience",
            type=click.FloatRange(0, min_open=True),
            default=30,
            show_default=True,
            metavar="SECONDS",
            help="How long to go on without a connection when there is no screen.",
        ),
        click.option(
            "--json", "wants_json", is_flag=True, help="Print one JSON object a message; no screen."
        ),
    ):
        command = option(command)
    return command


@click.command(name="join", epilog=_EXIT_CODES)
@click.argument("url")
@_options
def join_command(url: str, wants_json: bool, patience: float, bell: bool) -> None:
    """Join the room at URL, its page's address or its websocket's.

    A room's id alone means a room on this machine.

    On a terminal there is a screen; /help explains it. Anywhere else, and if TERM is "dumb", each
    line of standard input is said and each message is printed on a line. The lines are read
    once the room has been joined, and after the last of them the command waits until all are
    stored.

    NO_COLOR turns the colours off.
    """
    try:
        address = RoomAddress.parse(f"{DEFAULT_SERVER}/{url.strip()}" if is_room_id(url) else url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="URL") from error
    _run(partial(_join, address, wants_json=wants_json, patience=patience, bell=bell))


@click.command(name="new", epilog=_EXIT_CODES)
@click.argument("server", default=DEFAULT_SERVER)
@_options
def new_command(server: str, wants_json: bool, patience: float, bell: bool) -> None:
    """Make a room, print its address, and join it.

    SERVER is by default one on this machine. The address is printed to standard output; the key,
    by which the room can be deleted, to standard error. With --json the first line is an object
    that has both.
    """
    try:
        Server.parse(server)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="SERVER") from error

    async def make_and_join() -> int:
        new = await create_room(server)
        _print_new(new, wants_json)
        return await _join(new.address, wants_json=wants_json, patience=patience, bell=bell)

    _run(make_and_join)


def _print_new(new: NewRoom, wants_json: bool) -> None:
    if wants_json:
        made = {"address": new.address.page, "roomName": new.name, "key": new.key}
        click.echo(json.dumps(made))
    else:
        click.echo(new.address.page)
        click.echo(f"The room's key: {new.key}", err=True)


async def _join(address: RoomAddress, *, wants_json: bool, patience: float, bell: bool) -> int:
    """Be in the room; return the exit code."""
    if not wants_json and _has_screen():
        from sharechat.client.terminal.screen import run_screen

        return await run_screen(address, bell=bell)
    return 0 if await run_lines(address, json=wants_json, patience=patience) else 1


def _has_screen() -> bool:
    return (
        sys.stdin is not None
        and sys.stdout is not None
        and sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") not in ("dumb", "")
    )


def _run(main: Callable[[], Awaitable[int]]) -> NoReturn:
    """Run until `main` returns or a signal comes, and exit."""

    async def run() -> int:
        code = 0
        received = 0
        with trio.open_signal_receiver(*_SIGNALS) as signals:
            async with trio.open_nursery() as nursery:

                async def stop() -> None:
                    nonlocal received
                    received = await anext(signals)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(stop)
                try:
                    code = await main()
                except ClientError as error:
                    tell(str(error))
                    code = 1
                except OSError as error:
                    if not isinstance(error, BrokenPipeError):  # As with `head`.
                        tell(f"Standard input or output failed: {error.strerror}.")
                    code = 1
                nursery.cancel_scope.cancel()
        return 128 + received if received else code

    raise click.exceptions.Exit(trio.run(run))
