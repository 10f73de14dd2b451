"""Which database URLs are accepted: none that would put a part of its password into an error."""

import pytest

from sharechat.adapters.postgres import PostgresRepository


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:se@cret@localhost/x",
        "postgresql://u:se/cret@localhost/x",
        "postgresql://u:5/cret@localhost/x",
        "postgresql://u:se%cret@localhost/x",
        "postgresql://u:se cret@localhost/x",
        "postgresql://u:se@cret/more@localhost/x",
        "postgresql://u:se/cret@more@localhost/x",
        "postgresql://u:se@[cret@localhost/x",
        "postgresql://u:secret",
        "postgresql://u:secret@[::1/x",
        "postgresql://u:secret@localhost:port/x",
        "postgresql://u:secret@localhost:70000/x",
        "postgresql://localhost/x?password=se%cret",
        "postgresql://localhost/x?password=secret&secret=1",
        "host=localhost password=se cret",
    ],
)
def test_an_invalid_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encoded") as raised:
        PostgresRepository(url)
    assert "cret" not in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres://u%40srv:se%40cret@localhost:5433/x?sslmode=require",
        "postgresql://u:se[cret?#@[::1]:5432/x",
        "postgresql://one:5432,two:5433/x",
        "postgresql:///x?host=/run/postgresql&user=me@here",
        "host=localhost password='se cret'",
    ],
)
def test_a_valid_url_is_accepted(url: str) -> None:
    PostgresRepository(url)
