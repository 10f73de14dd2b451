"""What the commands of an operator have in common."""

import click


class CannotStartError(click.ClickException):
    """Something outside the program keeps a command from starting."""


def cannot_start(error: Exception) -> CannotStartError:
    """Return what to tell of an error of the domain."""
    # Clients are told only `error`; whoever runs the server needs the vendor's reason as well.
    reason = " ".join(str(error.__cause__ or "").split())
    return CannotStartError(f"{error} {reason}".rstrip())


class OptionsOnly(click.Command):
    """A command that takes options only."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # Not shown, since it may be the rest of a password that the shell took for two words.
        if super().parse_args(ctx, args):
            ctx.fail("There is something that is not an option. Quote a value that has spaces.")
        return []
