"""The `sharechat` command."""

import gc
import sys
import traceback
from importlib import import_module

import click

from sharechat.stderr import stderr_in_thread

_COMMANDS = {
    "backup": "sharechat.backup:backup",
    "bench": "sharechat.bench.command:bench",
    "join": "sharechat.client.terminal.command:join_command",
    "migrate": "sharechat.migrate:migrate",
    "new": "sharechat.client.terminal.command:new_command",
    "serve": "sharechat.serve:serve",
}


class _Commands(click.Group):
    """The commands. Each is imported when it is called, so a client does not import the server."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click passes it
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in _COMMANDS:
            # Not shown, since it may be a database's URL with its password.
            ctx.fail(f"There is no such command. The commands are: {', '.join(sorted(_COMMANDS))}.")
        module, _, name = _COMMANDS[cmd_name].partition(":")
        gc.disable()  # Imports make no garbage; to look for it takes a sixth of a start.
        try:
            command: click.Command = getattr(import_module(module), name)
        finally:
            gc.enable()
        return command


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="sharechat")
@click.pass_context
def cli(context: click.Context) -> None:
    """An anonymous chat server: make a room with one POST, join it with one websocket."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command; whatever is wrong with its use is one line, and exit code 2."""
    with stderr_in_thread():
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
