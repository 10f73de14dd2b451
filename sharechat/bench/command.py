"""`sharechat bench`: load a server of this API and print how it did."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from sharechat.bench import catalogue
from sharechat.bench.fleet import FleetError
from sharechat.bench.plan import MAX_UNSENT
from sharechat.bench.processes import UnknownServerError
from sharechat.bench.results import UNITS, Result, medians, ratio
from sharechat.bench.target import Target
from sharechat.bench.workloads import Conditions

_DEFAULT = ("one-to-many", "many-to-many", "rooms")

Row = tuple[Result, Result | None]
"""The medians of one workload, on the server and on the one that it is compared with."""


def run(
    url: str,
    workloads: Sequence[str] = _DEFAULT,
    conditions: Conditions | None = None,
    *,
    against: str | None = None,
    members: int | None = None,
    runs: int = 1,
    may_be_remote: bool = False,
) -> list[Row]:
    """Run the workloads on the server at `url`, in turn with the one at `against`.

    Shows on standard error how far it is. Raises click.ClickException with a sentence.
    """
    conditions = conditions or Conditions()
    try:
        urls = [url] if against is None else [url, against]
        targets = [Target.parse(each, may_be_remote=may_be_remote) for each in urls]
        with _progress(len(workloads) * runs * len(targets)) as progress:
            table = catalogue.run(
                targets,
                [catalogue.make(name, members) for name in workloads],
                conditions,
                runs=runs,
                progress=progress,
            )
    except (FleetError, UnknownServerError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    return [(medians(row[0]), medians(row[1]) if against else None) for row in table]


class _Progress:
    def __init__(self, bar: "click._termui_impl.ProgressBar[int]") -> None:
        self._bar = bar
        self._begun = False

    def __call__(self, text: str) -> None:
        self._bar.label = text
        self._bar.update(1 if self._begun else 0)
        self._begun = True
        self._bar.render_progress()


@contextmanager
def _progress(steps: int) -> Iterator[_Progress]:
    with click.progressbar(length=steps, file=sys.stderr, show_eta=False, width=24) as bar:
        yield _Progress(bar)
        bar.update(1)


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    compared = any(theirs for _, theirs in rows)
    head = f"{'workload':<14}{'figure':<16}{'server':>12}"
    click.echo(head + (f"{'against':>12}{'ratio':>8}" if compared else ""))
    for ours, theirs in rows:
        for figure in [name for name in UNITS if name in ours.figures]:
            label = f"{figure} {UNITS[figure]}".strip()
            line = f"{ours.workload:<14}{label:<16}{number(ours.figures[figure]):>12}"
            if theirs and figure in theirs.figures:
                times = ratio(ours.figures[figure], theirs.figures[figure], figure)
                line += f"{number(theirs.figures[figure]):>12}{times:>7.2f}x"
            click.echo(line)
    for ours, theirs in rows:
        for who, result in (("server", ours), ("against", theirs)):
            for complaint in result.wrong if result else ():
                click.echo(f"WRONG on {who}, {ours.workload}: {complaint}")


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def as_json(rows: Sequence[Row]) -> str:
    """Return the rows as JSON."""
    return json.dumps(
        [
            {
                "workload": ours.workload,
                "server": {"figures": ours.figures, "wrong": ours.wrong},
                "against": theirs and {"figures": theirs.figures, "wrong": theirs.wrong},
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
    type=click.Choice([*catalogue.ALL, "all"]),
    multiple=True,
    default=_DEFAULT,
    show_default=True,
    help="What to do. Repeatable.",
)
@click.option("--members", type=click.IntRange(1, 10_000), help="How many members join.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=5, show_default=True, help="Per run."
)
@click.option(
    "--window",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many messages each talker has on the way; it sends one more when one comes back.",
)
@click.option(
    "--text-bytes", type=click.IntRange(16, MAX_UNSENT // 64 - 16), default=64, show_default=True
)
@click.option(
    "--processes",
    type=click.IntRange(1, 64),
    default=Conditions.processes,
    show_default=True,
    help="How many client processes.",
)
@click.option("--runs", type=click.IntRange(1, 100), default=1, show_default=True)
@click.option("--against", metavar="URL", help="Another server, for comparison, in turn.")
@click.option("--json", "wants_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--i-own-this-server", is_flag=True, help="Load a server on another machine.")
def bench(
    url: str,
    workloads: Sequence[str],
    members: int | None,
    seconds: float,
    window: int,
    text_bytes: int,
    processes: int,
    runs: int,
    against: str | None,
    wants_json: bool,
    i_own_this_server: bool,
) -> None:
    """Load the server at URL, which should run with --message-rate 0, and show how it does.

    With more than one run the medians are shown. Exits with 1 if a check found the server
    URL wrong: a message lost, heard twice or in another order.
    """
    rows = run(
        url,
        tuple(catalogue.ALL) if "all" in workloads else workloads,
        Conditions(seconds, processes, text_bytes, window),
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


if __name__ == "__main__":
    bench()
