"""`python -m tests.simulation`: try any number of histories."""

import sys
import time
from contextlib import nullcontext
from random import SystemRandom

import click

from tests.simulation.breaks import BREAKS
from tests.simulation.focus import FOCUSES
from tests.simulation.history import from_text
from tests.simulation.hunt import hunt, shrink
from tests.simulation.simulate import Report, simulate


class Progress:
    """Prints how much was tried; on a terminal, in one line that it overwrites."""

    def __init__(self, seconds: float) -> None:
        self.histories = 0
        self._max_seconds = seconds
        self.began = time.monotonic()
        self._clock = 0.0
        self._faults = 0
        self._messages = 0
        self._printed_at = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def add(self, report: Report) -> bool:
        """Count a history; return whether there is time for another one."""
        self.histories += 1
        self._clock += report.seconds
        self._faults += report.faults
        self._messages += report.messages
        if time.monotonic() - self._printed_at > (0.5 if sys.stdout.isatty() else 10):
            self.print()
        return self.seconds < self._max_seconds

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


def _try_breaks(first: int, histories: int, focus: str | None) -> bool:
    """Try to find every break, print after how many histories, and return whether all were."""
    missed = []
    for name, broken in BREAKS.items():
        with broken.apply():
            finding = hunt(first, histories, focus)
        if finding is None:
            missed.append(name)
        result = f"{finding.tried:6,}" if finding else "missed"
        click.echo(f"{name:22} {result}  {broken.description}")
    click.echo(f"missed: {', '.join(missed)}" if missed else f"all {len(BREAKS)} were found")
    return not missed


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
@click.option(
    "--seed", default=None, type=int, help="The number of the first history; random by default."
)
@click.option(
    "--break", "broken", type=click.Choice(list(BREAKS)), help="Break the protocol in this way."
)
@click.option("--breaks", is_flag=True, help="Try every break, and print when it is found.")
@click.option("--focus", type=click.Choice(list(FOCUSES)), help="Try only histories of this kind.")
@click.option(
    "--replay", default=None, help="Replay one history, given as printed, and show its trace."
)
def main(
    histories: int | None,
    seconds: float | None,
    seed: int | None,
    broken: str | None,
    breaks: bool,
    focus: str | None,
    replay: str | None,
) -> None:
    """Try random histories until one violates an invariant.

    Tries 10,000 unless --histories or --seconds is given. With --break, the exit status is 0
    if the break is found, and with --breaks, if each of them is.
    """
    if replay is not None:
        if broken:
            with BREAKS[broken].apply():
                _replay(replay)
        _replay(replay)
    if seed is None:
        seed = SystemRandom().randrange(1_000_000)
    if histories is None:
        histories = 10_000 if seconds is None else sys.maxsize
    click.echo(f"first history: {seed}")
    if breaks:
        sys.exit(not _try_breaks(seed, histories, focus))
    progress = Progress(float("inf") if seconds is None else seconds)
    with BREAKS[broken].apply() if broken else nullcontext():
        finding = hunt(seed, histories, focus, on_report=progress.add)
        progress.print(last=True)
        if finding is not None:
            click.echo(f"found after {finding.tried:,} histories, shrinking it")
            finding = shrink(finding)
    if finding is None:
        click.echo("nothing found" + (f": {broken} was missed" if broken else ""))
    else:
        click.echo(f"{finding}" + f" --break {broken}" * bool(broken))
    sys.exit(bool(finding) != bool(broken))


if __name__ == "__main__":
    main()
