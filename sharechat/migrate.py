"""`sharechat migrate`: brings the schema of a database up to date."""

import click
import trio

from sharechat import logs
from sharechat.config import options
from sharechat.domain.errors import SharechatError
from sharechat.options_only import OptionsOnly, cannot_start


@click.command(cls=OptionsOnly, params=options("database_url", "log_level", "log_json"))
def migrate(database_url: str | None, log_level: str, log_json: bool) -> None:
    """Bring the database's schema up to date.

    `serve` does the same when it starts.
    """
    logs.configure(log_level, json=log_json)
    if not database_url:
        raise click.UsageError("--database-url (DATABASE_URL) is missing: there is no database.")
    from sharechat.adapters.postgres import migrate as migrate_database

    try:
        applied = trio.run(migrate_database, database_url)
    except (SharechatError, ValueError) as error:
        raise cannot_start(error) from error
    done = f"Applied {', '.join(applied)}." if applied else "There was nothing to do."
    click.echo(f"{done} The schema is up to date.")
