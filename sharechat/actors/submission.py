"""A draft on its way into the log, and whoever is to be told what became of it."""

from collections.abc import Callable
from math import inf

from sharechat.domain.errors import NotStoredError, SharechatError
from sharechat.domain.messages import Draft, Entry

AWAY = "The message could not be stored: the rooms cannot be reached. Try again later."

Settle = Callable[[Entry | NotStoredError], None]
"""Told what became of a draft: the entry, or the reason why there is none. Must not raise."""


class Submission:
    """A draft for `Journal.submit`, and the callback that is told the outcome, once.

    The outcome is NotStoredError, with a reason for the author, if the draft was refused, or if it
    was not stored by `deadline`, which `submit` sets; in the latter case it may have been stored
    all the same. For a refusal, its `__cause__` is the Repository's error. Without a callback a
    draft is stored however late that is.
    """

    __slots__ = ("deadline", "draft", "settle", "settled", "size")

    def __init__(self, draft: Draft, settle: Settle | None = None) -> None:
        self.draft = draft
        # In characters. A text that is not ASCII has up to four bytes for each; to count them
        # exactly would mean to encode every text twice.
        self.size = len(draft.text)
        self.settle = settle
        self.deadline = inf
        self.settled = False
        """Whether the outcome was told. What has not been taken into a commit by then is not
        stored."""

    def tell(self, outcome: Entry | SharechatError) -> None:
        """Tell the outcome, unless another one has been told."""
        if self.settled:
            return
        self.settled = True
        if self.settle is None:
            return
        if not isinstance(outcome, Entry | NotStoredError):
            error = NotStoredError(str(outcome))
            error.__cause__ = outcome
            outcome = error
        self.settle(outcome)

    def expire(self) -> None:
        """Tell that it was not stored in time, if anybody is to be told."""
        if self.settle is not None:
            self.tell(NotStoredError(AWAY))

    def keep(self) -> None:
        """Have it stored however late that is, since nobody is left to be told."""
        self.settle = None

    def withdraw(self) -> None:
        """Have it not stored, and tell nobody."""
        self.settled = True
