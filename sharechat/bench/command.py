"""`sharechat bench`: run workloads on a server of this API and print the figures."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException

import click

from sharechat.bench import catalogue
from sharechat.bench.commands import MAX_IN_FLIGHT_BYTES
from sharechat.bench.fleet import FleetError
from sharechat.bench.processes import UnknownServerError
from sharechat.bench.results import UNITS, Result, format_figure, medians, ratio
from sharechat.bench.target import Target, TargetError
from sharechat.bench.workloads import Parameters

_EXPECTED = (FleetError, TargetError, UnknownServerError, HTTPException, ValueError, OSError)
"""What a workload raises if the server is unreachable, or is not a sharechat."""

_DEFAULT = ("one-to-many", "many-to-many", "rooms")

Row = tuple[Result, Result | None]
"""One workload's medians: on the server, and on the one to compare with, if any."""


def run(
    url: str,
    workloads: Sequence[str] = _DEFAULT,
    parameters: Parameters | None = None,
    *,
    against: str | None = None,
    members: int | None = None,
    runs: int = 1,
    may_be_remote: bool = False,
) -> list[Row]:
    """Run the workloads on the server at `url`, in turn with the one at `against`.

    Returns a row for each workload, with the medians of `runs` runs, and shows progress on
    standard error. Raises click.ClickException, with a message for the user, if a workload
    cannot be run or a URL is not acceptable.
    """
    parameters = parameters or Parameters()
    urls = [url] if against is None else [url, against]
    try:
        targets = [Target.parse(each, may_be_remote=may_be_remote) for each in urls]
        with _progress(len(workloads) * runs * len(targets)) as progress:
            table = catalogue.run(
                targets,
                [catalogue.make(name, members) for name in workloads],
                parameters,
                runs=runs,
                progress=progress,
            )
    except _EXPECTED as error:
        where = f"{' or '.join(urls)}: " if isinstance(error, OSError) else ""
        raise click.ClickException(f"{where}{error}") from error
    return [(medians(row[0]), medians(row[1]) if against else None) for row in table]


class _Progress:
    """Advances the bar when the next run begins, since only then the last one has ended."""

    def __init__(self, bar: "click._termui_impl.ProgressBar[int]") -> None:
        self._bar = bar
        self._started = False

    def __call__(self, text: str) -> None:
        self._bar.label = text
        self._bar.update(1 if self._started else 0)
        self._started = True
        self._bar.render_progress()


@contextmanager
def _progress(steps: int) -> Iterator[_Progress]:
    with click.progressbar(length=steps, file=sys.stderr, show_eta=False, width=24) as bar:
        yield _Progress(bar)
        bar.update(1)


def show(rows: Sequence[Row]) -> None:
    """Print the rows as a table, then the failed checks."""
    compared = any(theirs for _, theirs in rows)
    head = f"{'workload':<14}{'figure':<20}{'server':>12}"
    click.echo(head + (f"{'against':>12}{'ratio':>8}" if compared else ""))
    for ours, theirs in rows:
        for figure in [name for name in UNITS if name in ours.figures]:
            label = f"{figure} {UNITS[figure]}".strip()
            line = f"{ours.workload:<14}{label:<20}{format_figure(ours.figures[figure]):>12}"
            if theirs and figure in theirs.figures:
                better = ratio(ours.figures[figure], theirs.figures[figure], figure)
                line += f"{format_figure(theirs.figures[figure]):>12}{better:>7.2f}x"
            click.echo(line)
    for ours, theirs in rows:
        for who, result in (("server", ours), ("against", theirs)):
            for complaint in result.wrong if result else ():
                click.echo(f"WRONG on {who}, {ours.workload}: {complaint}")


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as a JSON array with one object per workload."""
    return json.dumps(
        [
            {
                "workload": ours.workload,
                "server": ours.as_json(),
                "against": theirs and theirs.as_json(),
            }
            for ours, theirs in rows
        ],
        indent=2,
    )


@click.command()
@click.argument("url")
@click.option(
    "--workload",
    "workloads",
    type=click.Choice([*catalogue.WORKLOADS, "all"]),
    multiple=True,
    default=_DEFAULT,
    show_default=True,
    help="The workload to run. Repeatable; `all` leaves out "
    f"{', '.join(sorted(catalogue.LARGE))}, which take minutes.",
)
@click.option("--members", type=click.IntRange(1, 100_000), help="How many members join.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 86_400),
    help="How long each run measures: by default 5, 600 for soak, 60 for large-room.",
)
@click.option(
    "--window",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many messages each talker keeps in flight; it sends the next when one comes back.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Messages a second of all talkers together, whether or not earlier ones are back. By "
    "default soak and large-room find out what the server carries, and talk at 70 % of that.",
)
@click.option(
    "--talking",
    type=click.FloatRange(0, 1, min_open=True),
    default=Parameters.talking,
    show_default=True,
    help="The share of the members of soak that talk.",
)
@click.option(
    "--text-bytes",
    type=click.IntRange(16, MAX_IN_FLIGHT_BYTES - 16),
    default=64,
    show_default=True,
    help="The length of a chat message; times the window at most 16 KiB.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=Parameters.processes,
    show_default=True,
    help="How many client processes to run.",
)
@click.option(
    "--runs",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="How often to run each workload; the medians are shown.",
)
@click.option("--against", metavar="URL", help="A server to compare with; the two take turns.")
@click.option("--json", "wants_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--i-own-this-server", is_flag=True, help="Allow a URL on another machine.")
def bench(
    url: str,
    workloads: Sequence[str],
    members: int | None,
    seconds: float | None,
    window: int,
    rate: float | None,
    talking: float,
    text_bytes: int,
    processes: int,
    runs: int,
    against: str | None,
    wants_json: bool,
    i_own_this_server: bool,
) -> None:
    """Run workloads on the server at URL and print the figures.

    The server should run with --message-rate 0, --room-rate 0 and --join-rate 0. Exits with 1
    if a check failed on it: a message was lost, heard twice or heard out of order.
    """
    try:
        parameters = Parameters(seconds, processes, text_bytes, window, rate, talking)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    rows = run(
        url,
        _named(workloads),
        parameters,
        against=against,
        members=members,
        runs=runs,
        may_be_remote=i_own_this_server,
    )
    if wants_json:
        click.echo(as_json(rows))
    else:
        show(rows)
    if any(ours.wrong for ours, _ in rows):
        raise click.exceptions.Exit(1)


def _named(workloads: Sequence[str]) -> Sequence[str]:
    if "all" not in workloads:
        return workloads
    return [name for name in catalogue.WORKLOADS if name not in catalogue.LARGE]


if __name__ == "__main__":
    bench()
