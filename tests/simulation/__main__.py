"""`python -m tests.simulation`: try any number of histories."""

import sys
import time
from itertools import count
from random import SystemRandom

import click

from tests.simulation.breaks import BREAKS
from tests.simulation.history import from_text
from tests.simulation.hunt import Finding, hunt
from tests.simulation.simulate import Report, simulate

_ROUND = 200
"""Histories in one run of hypothesis, which remembers each and so becomes slower over time."""


class Progress:
    """Prints how much was tried; on a terminal, in one line that it overwrites."""

    def __init__(self) -> None:
        self.histories = 0
        self.began = time.monotonic()
        self._clock = 0.0
        self._faults = 0
        self._messages = 0
        self._printed_at = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def add(self, report: Report) -> None:
        self.histories += 1
        self._clock += report.seconds
        self._faults += report.faults
        self._messages += report.messages
        if time.monotonic() - self._printed_at > (0.5 if sys.stdout.isatty() else 10):
            self.print()

    def print(self, *, last: bool = False) -> None:
        self._printed_at = time.monotonic()
        overwrite = sys.stdout.isatty() and not last
        click.echo(("\r" if sys.stdout.isatty() else "") + str(self), nl=not overwrite)

    def __str__(self) -> str:
        rate = self.histories / max(self.seconds, 0.001)
        return (
            f"{self.histories:,} histories, {rate:.0f}/s, {self._clock / 3600:.1f} h simulated, "
            f"{self._faults:,} faults, {self._messages:,} messages"
        )


def _search(max_histories: int, seconds: float, seed: int, progress: Progress) -> Finding | None:
    for number in count(seed):
        left = max_histories - progress.histories
        if left <= 0 or progress.seconds >= seconds:
            return None
        if finding := hunt(number, min(_ROUND, left), shrink=True, on_report=progress.add):
            return finding
    return None


def _replay(text: str) -> None:
    report = simulate(from_text(text))
    for at, *what in report.trace:
        click.echo(f"{at:10.4f}  {' '.join(map(str, what))}")
    for violation in report.violations:
        click.echo(violation)
    sys.exit(1 if report.violations else 0)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--histories", default=None, type=int, help="How many to try.")
@click.option("--seconds", default=None, type=float, help="How long to try, in seconds.")
@click.option("--seed", default=None, type=int, help="The first seed; random by default.")
@click.option(
    "--break", "broken", type=click.Choice(list(BREAKS)), help="Break the protocol in this way."
)
@click.option(
    "--replay", default=None, help="Replay one history, given as printed, and show its trace."
)
def main(
    histories: int | None,
    seconds: float | None,
    seed: int | None,
    broken: str | None,
    replay: str | None,
) -> None:
    """Try random histories until one violates an invariant.

    Tries 10,000 unless --histories or --seconds is given. With --break, the exit status is 0
    if the break is found.
    """
    if replay is not None:
        if broken:
            with BREAKS[broken]():
                _replay(replay)
        _replay(replay)
    if seed is None:
        seed = SystemRandom().randrange(1_000_000)
    if histories is None:
        histories = 10_000 if seconds is None else sys.maxsize
    click.echo(f"first seed: {seed}")
    progress = Progress()
    limit = float("inf") if seconds is None else seconds
    if broken:
        with BREAKS[broken]():
            finding = _search(histories, limit, seed, progress)
    else:
        finding = _search(histories, limit, seed, progress)
    progress.print(last=True)
    if finding is None:
        click.echo("nothing found" + (f": {broken} was missed" if broken else ""))
    else:
        click.echo(
            f"found after {progress.histories:,} histories:\n{finding}"
            + f" --break {broken}" * bool(broken)
        )
    sys.exit(bool(finding) != bool(broken))


if __name__ == "__main__":
    main()
