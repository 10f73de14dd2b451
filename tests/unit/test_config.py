"""Settings: flags, environment variables, and values that are refused."""

import click
import pytest

from sharechat.config import Settings, options

_URLS = ("--database-url", "postgresql://db", "--redis-url", "redis://r")


def parse(*arguments: str) -> Settings:
    command = click.Command("serve", params=options())
    return Settings.from_params(command.make_context("serve", list(arguments)).params)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for option in options():
        monkeypatch.delenv(str(option.envvar), raising=False)


def test_without_flags_the_settings_are_the_dataclass_defaults() -> None:
    assert parse() == Settings()


def test_environment_variables_set_what_the_flags_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARECHAT_PORT", "9000")
    monkeypatch.setenv("SHARECHAT_ALLOWED_ORIGIN", "https://a.example http://b.example:81")
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/chat")
    monkeypatch.setenv("REDIS_URL", "rediss://:secret@cache/1")
    settings = Settings.from_environment()
    assert settings == parse(
        *("--port", "9000"),
        *("--allowed-origin", "https://a.example", "--allowed-origin", "http://b.example:81"),
        *("--database-url", "postgresql://db/chat", "--redis-url", "rediss://:secret@cache/1"),
    )


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "SHARECHAT_ALLOWED_ORIGIN"):
        monkeypatch.setenv(name, "")
    assert Settings.from_environment() == Settings()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("15m", 900), ("24h", 86400), ("7d", 604800)]
)
def test_a_duration_is_in_seconds_or_has_a_unit(text: str, seconds: float) -> None:
    assert parse("--room-ttl", text).room_ttl == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("2000000", 2_000_000), ("1024KiB", 1_048_576), ("2GiB", 2_147_483_648)]
)
def test_a_size_is_in_bytes_or_has_a_unit(text: str, size: int) -> None:
    assert parse("--max-memory", text).max_memory == size


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--port", "65536"], "--port"),
        (["--room-ttl", "0"], "--room-ttl"),
        (["--room-ttl", "soon"], "--room-ttl"),
        (["--allowed-origin", "chat.example"], "--allowed-origin"),
        (["--allowed-origin", "https://chat.example/path"], "--allowed-origin"),
        (["--trusted-proxy", "proxy.example"], "--trusted-proxy"),
        (["--database-url", "mysql://db", "--redis-url", "redis://r"], "--database-url"),
        (["--database-url", "postgres://db"], "--redis-url"),
        (["--redis-url", "redis://r"], "--database-url"),
        (["--workers", "2"], "--workers"),
        (["--in-memory", "--data", "x"], "--data"),
        (["--in-memory", *_URLS], "--in-memory"),
        (["--data", "x", *_URLS], "--data"),
        (["--data", "/"], "--data"),
        (["--max-data", "0"], "--max-data"),
        (["--max-data", "10"], "--max-data"),
    ],
)
def test_an_invalid_value_is_refused_and_its_flag_is_named(
    arguments: list[str], named: str
) -> None:
    with pytest.raises(click.UsageError) as refused:
        parse(*arguments)
    assert named in refused.value.format_message()


def test_the_error_about_a_refused_url_does_not_show_its_password() -> None:
    with pytest.raises(click.UsageError) as refused:
        parse("--database-url", "mysql://user:secret@db/chat", "--redis-url", "redis://r")
    assert "secret" not in refused.value.format_message()
