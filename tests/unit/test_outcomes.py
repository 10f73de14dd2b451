"""Errors can be shown to clients, and the table of outcomes is complete and consistent."""

import re

import pytest

from sharechat.domain import errors, outcomes
from sharechat.domain.errors import SharechatError
from sharechat.domain.outcomes import CLOSES, NORMAL, PROBLEM_OF, PROBLEMS, Close, Problem

WITH_A_FIXED_TEXT = [
    errors.RoomNotFoundError,
    errors.MessageNotFoundError,
    errors.WrongKeyError,
    errors.NotAMemberError,
    errors.LeaseLostError,
    errors.StoppingError,
    errors.FullError,
    errors.TooManyConnectionsError,
]


@pytest.mark.parametrize("error", WITH_A_FIXED_TEXT)
def test_the_text_of_an_error_is_a_sentence(error: type[SharechatError]) -> None:
    assert re.fullmatch(r"[A-Z].+\.", str(error()))


def test_every_error_is_a_sharechat_error() -> None:
    ours = [e for e in vars(errors).values() if isinstance(e, type)]
    assert len(ours) > 9
    assert all(issubclass(error, SharechatError) for error in ours)


def test_the_table_has_every_close_and_every_problem() -> None:
    values = vars(outcomes).values()
    assert {id(v) for v in values if isinstance(v, Close)} == {id(c) for c in (*CLOSES, NORMAL)}
    assert {id(v) for v in values if isinstance(v, Problem)} == {id(p) for p in PROBLEMS}


@pytest.mark.parametrize("close", CLOSES)
def test_every_close_fits_into_a_close_frame(close: Close) -> None:
    assert 1000 <= close.code <= 1014 or 4000 <= close.code <= 4999
    assert 0 < len(close.reason.encode()) <= 123  # A control frame holds 125 bytes, 2 for the code.


def test_every_problem_has_its_own_uri() -> None:
    assert len({problem.uri for problem in PROBLEMS}) == len(PROBLEMS)
    assert outcomes.ROOM_NOT_FOUND.uri == "tag:sharechat.dev,2026:room-not-found"


def test_every_refusal_of_a_room_has_a_close_code_of_its_own() -> None:
    codes = [problem.code for problem in PROBLEMS if problem.code is not None]
    assert all(4400 <= code <= 4499 for code in codes)
    assert len({*codes, *(close.code for close in CLOSES if close.code >= 4000)}) == len(codes) + 1
    # Some of these are for REST only; with the others no websocket can be accepted.
    assert {problem.slug for problem in PROBLEMS if problem.code is None} == {
        "bad-handshake",
        "bad-query",
        "key-missing",
        "wrong-key",
        "wrong-version",
        "not-a-websocket",
    }


def test_every_problem_that_an_error_leads_to_is_in_the_table() -> None:
    assert set(PROBLEM_OF.values()) <= set(PROBLEMS)
    assert PROBLEM_OF[errors.UnavailableError].status == 503
    assert PROBLEM_OF[errors.RoomNotFoundError].status == 404
