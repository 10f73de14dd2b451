"""`sharechat backup`: copies the file that the rooms are kept in."""

import os
import sqlite3
from pathlib import Path

import click

from sharechat.adapters.sqlite.backup import back_up
from sharechat.config import DATA_OPTION, default_data
from sharechat.domain.errors import SharechatError


@click.command(params=[DATA_OPTION()])
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path, data: Path | None) -> None:
    """Copy all rooms to FILE, which must not exist yet.

    A server may go on using them meanwhile. To go back to the copy, stop the server and start it
    with --data FILE.
    """
    if data is None and os.environ.get("DATABASE_URL"):
        raise click.UsageError(
            "DATABASE_URL names the database that has the rooms: back that up, for example with "
            "pg_dump, or name a file of rooms with --data."
        )
    source = data or default_data()
    try:
        back_up(source, file)
    except (SharechatError, OSError) as error:
        raise click.ClickException(_describe(error)) from error
    click.echo(f"The rooms of {source} are in {file}.")


def _describe(error: SharechatError | OSError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"cannot write {error.filename}: {error.strerror}"
    reason = f" {error.__cause__}" if isinstance(error.__cause__, sqlite3.Error) else ""
    return f"{error}{reason}"
