"""Which histories are drawn: of everything, or of what one part of the protocol depends on.

A history with a little of everything seldom has enough of what one rare failure takes.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import NamedTuple

from tests.simulation.history import Action, BusKind, History, Limits, Op

_ANY_DELAY = (0.0, 0.0, 0.0, 0.0, 0.001, 0.003, 0.007, 0.02, 0.05, 0.2, 0.3, 1.0, 1.0, 2.0, 3.0, 11)


_REDIS = (BusKind.REDIS, BusKind.REDIS, BusKind.FAR, BusKind.NARROW, BusKind.SMALL)
_ANY_BUS = (*_REDIS, *(BusKind.FAKE,) * len(_REDIS))


class Focus(NamedTuple):
    """What histories of one kind consist of; each choice is as likely as it is often here."""

    weights: Mapping[Action, int]
    delays: Sequence[float] = _ANY_DELAY
    """Seconds that an op may come after the one before it."""
    limits: Sequence[Limits] = tuple(Limits)
    buses: Sequence[BusKind] = _ANY_BUS
    processes: tuple[int, int] = (1, 3)
    members: tuple[int, int] = (0, 6)
    max_ops: int = 50
    old_entries: Sequence[int] = (0,)
    patience: Sequence[float] = (0.0, 0.0, 12.0)
    quiet_times: Sequence[float] = (0.0, 0.0, 6.0, 14.0)

    def draw(self, rng: Random) -> History:
        """Return a history of this kind; it depends on nothing but `rng`."""
        actions, weights = tuple(self.weights), tuple(self.weights.values())
        number = rng.randint(1, self.max_ops)
        return History(
            seed=rng.getrandbits(32),
            processes=rng.randint(*self.processes),
            initial_members=rng.randint(*self.members),
            limits=rng.choice(self.limits),
            old_entries=rng.choice(self.old_entries),
            patience=rng.choice(self.patience),
            quiet_time=rng.choice(self.quiet_times),
            ops=tuple(
                Op(rng.choice(self.delays), action, rng.randrange(8), rng.randrange(64))
                for action in rng.choices(actions, weights, k=number)
            ),
            bus=rng.choice(self.buses),
        )


FOCUSES: Mapping[str, Focus] = {
    "everything": Focus(
        {
            Action.TALK: 10,
            Action.JOIN: 6,
            Action.BURST: 1,
            Action.BAD_TEXT: 1,
            Action.MALFORMED: 1,
            Action.REPEAT: 2,
            Action.CLOSE: 2,
            Action.LAST_WORDS: 1,
            Action.VANISH: 3,
            Action.RESET: 1,
            Action.FALL_SILENT: 1,
            Action.CRAWL: 1,
            Action.RETURN: 3,
            Action.CATCH_UP: 1,
            Action.STALL: 1,
            Action.DAWDLE: 1,
            Action.READ_ON: 1,
            Action.DELETE: 1,
            Action.START: 2,
            Action.KILL: 2,
            Action.STOP: 2,
            Action.FREEZE: 2,
            Action.OUTAGE: 2,
            Action.SEVER: 1,
            Action.CHAOS: 4,
            Action.ERRORS: 1,
            Action.SLOW: 1,
            Action.CLOCK: 1,
            Action.NOISE: 4,
            Action.CUT: 2,
            Action.REDIS: 2,
        }
    ),
    "bus": Focus(
        {
            Action.TALK: 10,
            Action.JOIN: 4,
            Action.CLOSE: 1,
            Action.RETURN: 1,
            Action.DELETE: 1,
            Action.NOISE: 5,
            Action.CUT: 3,
        },
        buses=(BusKind.FAKE,),
        processes=(2, 3),
        members=(2, 6),
        patience=(0.0, 12.0),
    ),
    "redis": Focus(
        {
            Action.TALK: 12,
            Action.BURST: 2,
            Action.JOIN: 5,
            Action.CLOSE: 5,
            Action.DELETE: 1,
            Action.FREEZE: 1,
            Action.NOISE: 1,
            Action.CUT: 3,
            Action.REDIS: 8,
        },
        delays=(0.0, 0.02, 0.1, 0.3, 0.3, 1.0, 1.0, 2.0, 3.0, 11.0),
        buses=_REDIS,
        processes=(2, 3),
        members=(3, 6),
        quiet_times=(0.0, 14.0, 20.0),
    ),
    "publishing": Focus(
        {Action.TALK: 12, Action.BURST: 2, Action.REDIS: 3},
        max_ops=20,
        delays=(0.0, 0.02, 0.1, 0.3, 0.3, 1.0, 1.0, 3.0),
        buses=(BusKind.FAR, BusKind.FAR, BusKind.SMALL),
        processes=(2, 2),
        members=(4, 6),
        patience=(0.0, 0.0, 0.0, 12.0),
        quiet_times=(16.0,),
    ),
    "subscribing": Focus(
        {Action.TALK: 5, Action.JOIN: 8, Action.CLOSE: 8, Action.CUT: 4, Action.REDIS: 1},
        delays=(0.0, 0.02, 0.3, 0.3, 0.3, 1.0),
        limits=(Limits.TIGHT, Limits.SMALL_PAGES),
        buses=_REDIS,
        processes=(2, 2),
        members=(4, 6),
        quiet_times=(14.0,),
    ),
    "repository": Focus(
        {
            Action.TALK: 8,
            Action.JOIN: 6,
            Action.CLOSE: 2,
            Action.LAST_WORDS: 1,
            Action.BAD_TEXT: 1,
            Action.VANISH: 1,
            Action.OUTAGE: 4,
            Action.SEVER: 2,
            Action.CHAOS: 2,
            Action.ERRORS: 1,
            Action.SLOW: 3,
            Action.NOISE: 2,
            Action.CUT: 1,
        },
        patience=(0.0, 12.0, 22.0),
        members=(2, 6),
    ),
    "leases": Focus(
        {
            Action.TALK: 2,
            Action.JOIN: 2,
            Action.START: 3,
            Action.KILL: 2,
            Action.STOP: 2,
            Action.FREEZE: 2,
            Action.OUTAGE: 6,
            Action.SEVER: 1,
        },
        delays=(0.0, 0.05, 1.0, 2.0, 3.0, 11.0),
        processes=(2, 3),
        patience=(0.0, 12.0, 22.0),
        quiet_times=(0.0, 25.0),
    ),
    "resuming": Focus(
        {
            Action.TALK: 8,
            Action.CATCH_UP: 6,
            Action.RETURN: 2,
            Action.JOIN: 1,
            Action.SLOW: 1,
            Action.NOISE: 1,
        },
        delays=(0.0, 0.02, 0.2, 0.3, 1.0, 1.0),
        buses=(BusKind.FAKE,),
        members=(1, 3),
        processes=(1, 2),
        limits=(Limits.TIGHT, Limits.SMALL_PAGES),
        old_entries=(3, 40),
    ),
    "clients": Focus(
        {
            Action.TALK: 6,
            Action.BURST: 2,
            Action.BAD_TEXT: 1,
            Action.JOIN: 4,
            Action.CLOSE: 2,
            Action.LAST_WORDS: 3,
            Action.VANISH: 2,
            Action.RETURN: 2,
            Action.STALL: 1,
            Action.DAWDLE: 1,
            Action.READ_ON: 1,
            Action.DELETE: 1,
        },
        processes=(1, 2),
        quiet_times=(0.0, 0.0, 14.0, 30.0),
    ),
    "repeats": Focus(
        {
            Action.TALK: 6,
            Action.REPEAT: 3,
            Action.RETURN: 8,
            Action.JOIN: 1,
            Action.LAST_WORDS: 1,
            Action.MALFORMED: 1,
            Action.KILL: 1,
            Action.START: 1,
            Action.CHAOS: 1,
            Action.SLOW: 4,
            Action.NOISE: 4,
            Action.CUT: 2,
        },
        delays=(0.0, 0.0, 0.003, 0.02, 0.2, 1.0),
        members=(2, 4),
        processes=(2, 3),
        limits=(Limits.TIGHT, Limits.SMALL_PAGES),
    ),
    "sockets": Focus(
        {
            Action.TALK: 8,
            Action.BURST: 2,
            Action.JOIN: 3,
            Action.CATCH_UP: 1,
            Action.CLOSE: 3,
            Action.LAST_WORDS: 2,
            Action.RESET: 1,
            Action.VANISH: 1,
            Action.FALL_SILENT: 1,
            Action.STALL: 1,
            Action.DAWDLE: 2,
            Action.CRAWL: 2,
            Action.READ_ON: 2,
            Action.STOP: 1,
        },
        delays=(0.0, 0.0, 0.02, 0.2, 1.0, 1.0, 4.0),
        members=(2, 6),
        processes=(1, 2),
        old_entries=(0, 20),
        quiet_times=(0.0, 0.0, 14.0, 70.0),
    ),
    "endings": Focus(
        {
            Action.TALK: 3,
            Action.BURST: 1,
            Action.LAST_WORDS: 8,
            Action.RETURN: 4,
            Action.JOIN: 4,
            Action.CLOSE: 2,
            Action.SLOW: 2,
            Action.OUTAGE: 2,
        },
        delays=(0.0, 0.0, 0.02, 0.3, 1.0, 4.0, 11.0),
        members=(2, 6),
        processes=(1, 2),
        old_entries=(0, 20),
    ),
    "departures": Focus(
        {Action.JOIN: 8, Action.RETURN: 6, Action.TALK: 2, Action.LAST_WORDS: 8, Action.RESET: 4},
        delays=(0.0, 0.0, 0.02, 0.3, 0.3, 1.0),
        members=(1, 4),
        processes=(1, 2),
    ),
    "outages": Focus(
        {
            Action.TALK: 8,
            Action.JOIN: 2,
            Action.DELETE: 1,
            Action.OUTAGE: 1,
            Action.SEVER: 4,
            Action.CUT: 6,
        },
        processes=(2, 3),
        members=(4, 6),
        patience=(0.0, 12.0),
    ),
    "gaps": Focus(
        {
            Action.TALK: 8,
            Action.JOIN: 8,
            Action.BAD_TEXT: 2,
            Action.LAST_WORDS: 2,
            Action.CLOSE: 1,
            Action.SLOW: 4,
            Action.NOISE: 4,
        },
        buses=(BusKind.FAKE,),
        delays=(0.0, 0.0, 0.02, 0.3, 1.0, 1.0),
        members=(1, 4),
        processes=(2, 3),
        limits=(Limits.TIGHT, Limits.SMALL_PAGES),
    ),
    "lingering": Focus(
        {Action.TALK: 3, Action.JOIN: 8, Action.CLOSE: 7, Action.SLOW: 4, Action.NOISE: 4},
        delays=(0.0, 0.02, 0.05, 0.3, 0.3, 1.0),
        members=(2, 4),
        processes=(2, 2),
        limits=(Limits.TIGHT, Limits.SMALL_PAGES),
    ),
}


# What takes the rarest coincidences is drawn twice as often.
_RARE = ("redis", "resuming", "gaps", "lingering")
_MIX = (*FOCUSES.values(), *(FOCUSES[name] for name in _RARE))


def history_number(number: int, focus: str | None = None) -> History:
    """Return the history with a number: of one kind, or of any kind."""
    rng = Random(number)
    return (rng.choice(_MIX) if focus is None else FOCUSES[focus]).draw(rng)
