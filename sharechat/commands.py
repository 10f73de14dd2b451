"""Which commands there are."""

import click


class Commands(click.Group):
    """The commands; those that a server has no use for are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "backup", "bench", "join", "migrate", "new"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "backup":
            from sharechat.backup import backup

            return backup
        if cmd_name == "bench":
            from sharechat.bench.command import bench

            return bench
        if cmd_name == "migrate":
            from sharechat.migrate import migrate

            return migrate
        if cmd_name in ("join", "new"):
            from sharechat.client.terminal.command import join_command, new_command

            return join_command if cmd_name == "join" else new_command
        command = super().get_command(ctx, cmd_name)
        if command is None:
            # Not shown, since it may be a database's URL with its password.
            names = ", ".join(self.list_commands(ctx))
            ctx.fail(f"There is no such command. The commands are: {names}.")
        return command
