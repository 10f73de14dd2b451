"""An invalid setting is refused in one line that names it, with exit code 2.

`main` runs in this process, since starting a command for each setting would take a second;
`test_process` starts the command for a few.
"""

import signal
import sys
from collections.abc import Iterator
from typing import Protocol

import pytest
import structlog

from sharechat import cli
from sharechat.net import listeners
from sharechat.workers import stop_signals


class AssertRefused(Protocol):
    def __call__(self, *flags: str, naming: str) -> None:
        """Assert that `sharechat serve` exits, with one line that contains `naming`."""
        ...


@pytest.fixture(name="assert_refused")
def _assert_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[AssertRefused]:
    def accepted(*_: object) -> None:
        pytest.fail("the settings were accepted")

    # The next step once the settings are accepted; `main` would serve until a signal comes.
    monkeypatch.setattr(listeners, "bind", accepted)

    def assert_refused(*flags: str, naming: str) -> None:
        monkeypatch.setattr(sys, "argv", ["sharechat", "serve", *flags])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert caught.value.code == 2
        out, err = capfd.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("sharechat: ")
        assert naming in err

    yield assert_refused
    # If the settings were accepted, `main` has made logs go to this test's captured stderr.
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--port", "99999"),
        ("--port", "-1"),
        ("--port", "http"),
        ("--room-ttl", "0"),
        ("--room-ttl", "-1s"),
        ("--room-ttl", "soon"),
        ("--room-ttl", "nan"),
        ("--room-ttl", "inf"),
        ("--room-ttl", ""),
        ("--allowed-origin", "chat.example"),
        ("--allowed-origin", "ftp://chat.example"),
        ("--allowed-origin", "https://"),
        ("--allowed-origin", "https://chat.example/"),
        ("--allowed-origin", "https://chat.example/path"),
        ("--allowed-origin", "https://chat.example?x"),
        ("--allowed-origin", "https://chat.example#x"),
        ("--allowed-origin", "https://me@chat.example"),
        ("--allowed-origin", "https://chat.example:99999"),
        ("--allowed-origin", "http://[::1"),
        ("--allowed-host", "https://chat.example"),
        ("--allowed-host", "chat.example:8080"),
        ("--allowed-host", "*.example"),
        ("--max-message-bytes", "0"),
        ("--message-rate", "-1"),
        ("--message-rate", "nan"),
        ("--message-burst", "0"),
        ("--max-memory", "0"),
        ("--max-memory", "0MiB"),
        ("--max-memory", "5MB"),
        ("--max-memory", "-1KiB"),
        ("--max-memory", "much"),
        ("--room-rate", "-1"),
        ("--join-rate", "inf"),
        ("--metrics", "9090"),
        ("--metrics", "127.0.0.1:99999"),
        ("--metrics", "::1:9090"),
        ("--drain-delay", "-1s"),
        ("--drain-delay", "soon"),
        ("--log-level", "loud"),
        ("--workers", "0"),
        ("--workers", "2"),
        ("--keyfile", "key.pem"),
        ("--certfile", "."),
        ("--unix", "."),
        ("--database-url", "mysql://localhost/x"),
        ("--redis-url", "http://localhost"),
        ("--no-such-flag", "x"),
    ],
)
def test_an_invalid_flag_is_refused(assert_refused: AssertRefused, flag: str, value: str) -> None:
    assert_refused(flag, value, naming=flag)


@pytest.mark.parametrize(
    ("variable", "value", "flag"),
    [
        ("SHARECHAT_PORT", "99999", "--port"),
        ("SHARECHAT_ROOM_TTL", "never", "--room-ttl"),
        ("SHARECHAT_ALLOWED_ORIGIN", "https://fine.example wrong", "--allowed-origin"),
        ("SHARECHAT_MESSAGE_RATE", "x", "--message-rate"),
        ("SHARECHAT_LOG_JSON", "maybe", "--log-json"),
        ("SHARECHAT_ACCESS_LOG", "maybe", "--access-log"),
        ("SHARECHAT_NO_PAGE", "maybe", "--no-page"),
        ("DATABASE_URL", "postgresql://localhost/x", "--redis-url"),
        ("REDIS_URL", "redis://localhost", "--database-url"),
    ],
)
def test_an_invalid_variable_is_refused_naming_its_flag(
    assert_refused: AssertRefused,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    flag: str,
) -> None:
    monkeypatch.setenv(variable, value)
    assert_refused(naming=flag)


_DATABASES = [
    f"postgresql://user:{password}@127.0.0.1:1/db"
    for password in ("s3@cr3t", "s3/cr3t", "1/cr3t", "s3%cr3t", "s3 cr3t", "s3[cr3t", "s3]cr3t")
] + ["postgresql://user:cr3t", "postgresql://user:cr3t@[", "postgresql://h/db?password=cr3t%"]
_REDISES = [
    f"redis://user:{password}@127.0.0.1:1/0"
    for password in ("1/cr3t", "s3/cr3t", "1?cr3t", "1#cr3t", "s3[cr3t", "s3]cr3t")
] + ["redis://user:cr3t", "redis://user:cr3t@["]


@pytest.fixture(name="kept_signals")
def _kept_signals() -> Iterator[None]:
    """The command ignores the signals that have told it to stop, to its process's end."""
    handlers = {number: signal.getsignal(number) for number in stop_signals()}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("kept_signals")
@pytest.mark.parametrize(
    "urls",
    [(database, "redis://127.0.0.1:1") for database in _DATABASES]
    + [("postgresql://127.0.0.1:1/db", redis) for redis in _REDISES]
    + [("postgresql://user:s3", "cr3t@127.0.0.1/db")],
)
def test_no_error_shows_a_part_of_a_password(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], urls: tuple[str, str]
) -> None:
    """Some of the URLs are valid; nothing listens where they lead to."""
    database, rest = urls
    flags = ["--redis-url", rest] if "://" in rest else [rest]
    monkeypatch.setattr(
        sys, "argv", ["sharechat", "serve", "--port", "0", "--database-url", database, *flags]
    )
    with pytest.raises(SystemExit) as caught:
        cli.main()
    structlog.reset_defaults()
    assert caught.value.code == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "cr3t" not in err


def test_an_unknown_command_is_not_shown_since_it_may_be_a_url(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sharechat", "postgresql://user:s3cr3t@127.0.0.1/db"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    _, err = capfd.readouterr()
    assert "serve" in err
    assert "s3cr3t" not in err
