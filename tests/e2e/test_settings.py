"""Every wrong setting is one line that names it, and exit code 2.

In this process, since starting a command for each takes a second; `test_process` has two
that really start it.
"""

import sys

import pytest
import trio

from sharechat import cli, logs
from sharechat.config import Settings


@pytest.fixture(name="refused")
def _refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> "type[Refused]":
    def accepted(*_: object) -> None:
        pytest.fail("it was accepted")

    # Whatever would be next.
    monkeypatch.setattr(trio, "run", accepted)
    monkeypatch.setattr(cli, "_listen", accepted)
    # It would log to what is captured here for as long as the process lasts.
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    Refused.monkeypatch, Refused.capsys = monkeypatch, capsys
    return Refused


class Refused:
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __init__(self, *flags: str, says: str) -> None:
        self.monkeypatch.setattr(sys, "argv", ["sharechat", "serve", *flags])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        assert caught.value.code == 2
        out, err = self.capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("sharechat: ")
        assert says in err


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
        ("--max-message-bytes", "0"),
        ("--message-rate", "-1"),
        ("--message-rate", "nan"),
        ("--message-burst", "0"),
        ("--log-level", "loud"),
        ("--workers", "0"),
        ("--workers", "2"),
        ("--database-url", "mysql://localhost/x"),
        ("--redis-url", "http://localhost"),
        ("--no-such-flag", "x"),
    ],
)
def test_a_wrong_flag(refused: type[Refused], flag: str, value: str) -> None:
    refused(flag, value, says=flag)


@pytest.mark.parametrize(
    ("variable", "value", "flag"),
    [
        ("SHARECHAT_PORT", "99999", "--port"),
        ("SHARECHAT_ROOM_TTL", "never", "--room-ttl"),
        ("SHARECHAT_ALLOWED_ORIGIN", "https://fine.example wrong", "--allowed-origin"),
        ("SHARECHAT_MESSAGE_RATE", "x", "--message-rate"),
        ("SHARECHAT_LOG_JSON", "maybe", "--log-json"),
        ("DATABASE_URL", "postgresql://localhost/x", "--redis-url"),
        ("REDIS_URL", "redis://localhost", "--database-url"),
    ],
)
def test_a_wrong_variable(
    refused: type[Refused],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    flag: str,
) -> None:
    monkeypatch.setenv(variable, value)
    refused(says=flag)


def test_a_host_that_no_name_can_be() -> None:
    with pytest.raises(cli.CannotStartError):
        cli._listen(Settings(host="x" * 64))
