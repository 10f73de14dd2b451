"""`python -m tests.simulation`: try histories for as long as one likes."""

import sys
import time
from itertools import count
from random import SystemRandom

import click

from tests.simulation.breaks import BREAKS
from tests.simulation.history import from_text
from tests.simulation.hunt import Find, hunt
from tests.simulation.simulate import Report, simulate

_ROUND = 200
"""Histories that hypothesis draws in one go: it remembers each, so rounds keep it fast."""


class Progress:
    """What was tried, in a line that is written over as long as somebody looks at it."""

    def __init__(self) -> None:
        self.histories = 0
        self.began = time.monotonic()
        self._clock = 0.0
        self._faults = 0
        self._messages = 0
        self._told_at = 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def saw(self, report: Report) -> None:
        self.histories += 1
        self._clock += report.seconds
        self._faults += report.faults
        self._messages += report.messages
        if time.monotonic() - self._told_at > (0.5 if sys.stdout.isatty() else 10):
            self.tell()

    def tell(self, *, last: bool = False) -> None:
        self._told_at = time.monotonic()
        over = sys.stdout.isatty() and not last
        click.echo(("\r" if sys.stdout.isatty() else "") + str(self), nl=not over)

    def __str__(self) -> str:
        rate = self.histories / max(self.seconds, 0.001)
        return (
            f"{self.histories:,} histories, {rate:.0f}/s, {self._clock / 3600:.1f} h simulated, "
            f"{self._faults:,} faults, {self._messages:,} messages"
        )


def _search(most: int, seconds: float, seed: int, progress: Progress) -> Find | None:
    for number in count(seed):
        left = most - progress.histories
        if left <= 0 or progress.seconds >= seconds:
            return None
        if find := hunt(number, min(_ROUND, left), shrink=True, saw=progress.saw):
            return find
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
@click.option("--seconds", default=None, type=float, help="For how long to try.")
@click.option("--seed", default=None, type=int, help="Where to begin; by default anywhere.")
@click.option("--break", "broken", type=click.Choice(list(BREAKS)), help="Break the protocol.")
@click.option("--replay", default=None, help="Play one history, as printed, and show it all.")
def main(
    histories: int | None,
    seconds: float | None,
    seed: int | None,
    broken: str | None,
    replay: str | None,
) -> None:
    """Let hypothesis think of histories until one breaks the protocol.

    Without --histories and --seconds: 10,000. With --break the exit status is 0 if the
    break is found.
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
    click.echo(f"from seed {seed}")
    progress = Progress()
    limit = float("inf") if seconds is None else seconds
    if broken:
        with BREAKS[broken]():
            find = _search(histories, limit, seed, progress)
    else:
        find = _search(histories, limit, seed, progress)
    progress.tell(last=True)
    if find is None:
        click.echo("nothing found" + (f": {broken} was missed" if broken else ""))
    else:
        click.echo(
            f"found after {progress.histories:,} histories:\n{find}"
            + f" --break {broken}" * bool(broken)
        )
    sys.exit(bool(find) != bool(broken))


if __name__ == "__main__":
    main()
