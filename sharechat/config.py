"""The settings: every one a flag and an environment variable, checked once at the start."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from urllib.parse import urlsplit

import click

from sharechat.actors.policy import Policy

LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Settings:
    """What `sharechat serve` was told; see OPTIONS for what each setting means."""

    host: str = "127.0.0.1"
    port: int = 8080
    allowed_origin: tuple[str, ...] = ()
    room_ttl: float = 24 * 3600
    max_message_bytes: int = 16 * 1024
    message_rate: float = 20
    message_burst: int = 40
    log_level: str = "info"
    log_json: bool = False

    def policy(self) -> Policy:
        return Policy(
            message_rate=self.message_rate,
            message_burst=self.message_burst,
            room_ttl=self.room_ttl,
        )

    @classmethod
    def from_environment(cls) -> "Settings":
        """Return the settings that the environment variables give.

        Raises click.UsageError, with a sentence for the user, if one makes no sense.
        """
        return cls.from_params(
            click.Command("serve", params=options()).make_context("serve", []).params
        )

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "Settings":
        """Return the settings in what click parsed by OPTIONS."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in params.items() if name in names})


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):  # type: ignore[type-arg] # generic in new clicks only
    """Seconds, or a number with the unit s, m, h or d, such as 24h."""

    name = "duration"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return value
        number, unit = (value[:-1], value[-1]) if value[-1:] in _UNITS else (value, "s")
        try:
            seconds = float(number) * _UNITS[unit]
        except ValueError:
            self.fail(f"{value!r} is no duration such as 90, 90s, 15m, 24h or 7d.", param, ctx)
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} is not longer than nothing.", param, ctx)
        return seconds


class Origin(click.ParamType):  # type: ignore[type-arg]
    """An origin as a browser sends it (RFC 6454), or * for all."""

    name = "origin"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        parts = urlsplit(value)
        if value != "*" and (
            parts.scheme not in ("http", "https") or parts.path or not parts.netloc
        ):
            self.fail(f"{value!r} is no origin such as https://chat.example or *.", param, ctx)
        return value.lower()


def _option(*names: str, **attributes: Any) -> Callable[[], click.Option]:
    return lambda: click.Option(names, show_envvar=True, show_default=True, **attributes)


OPTIONS: Sequence[Callable[[], click.Option]] = (
    _option(
        "--host", envvar="SHARECHAT_HOST", default=Settings.host, help="The address to listen on."
    ),
    _option(
        "--port",
        envvar="SHARECHAT_PORT",
        type=click.IntRange(0, 65535),
        default=Settings.port,
        help="The port to listen on; 0 takes a free one.",
    ),
    _option(
        "--allowed-origin",
        envvar="SHARECHAT_ALLOWED_ORIGIN",
        type=Origin(),
        multiple=True,
        help="An origin whose pages may use the server, besides the server's own host; "
        "* allows all. Repeatable; the variable takes several, separated by spaces.",
    ),
    _option(
        "--room-ttl",
        envvar="SHARECHAT_ROOM_TTL",
        type=Duration(),
        default="24h",
        help="How long a room lasts that nobody is in, such as 90s, 15m, 24h, 7d.",
    ),
    _option(
        "--max-message-bytes",
        envvar="SHARECHAT_MAX_MESSAGE_BYTES",
        type=click.IntRange(1, 1 << 20),
        default=Settings.max_message_bytes,
        help="The largest message, in bytes of UTF-8.",
    ),
    _option(
        "--message-rate",
        envvar="SHARECHAT_MESSAGE_RATE",
        type=click.FloatRange(0),
        default=Settings.message_rate,
        help="Messages a second from one member; 0 sets no limit.",
    ),
    _option(
        "--message-burst",
        envvar="SHARECHAT_MESSAGE_BURST",
        type=click.IntRange(1),
        default=Settings.message_burst,
        help="How many messages a member may send at once before the rate holds.",
    ),
    _option(
        "--log-level",
        envvar="SHARECHAT_LOG_LEVEL",
        type=click.Choice(LOG_LEVELS),
        default=Settings.log_level,
        help="The least that is logged.",
    ),
    _option(
        "--log-json",
        envvar="SHARECHAT_LOG_JSON",
        is_flag=True,
        help="Log JSON, an object a line.",
    ),
)


def options() -> list[click.Parameter]:
    """Return all options, new, as the parameters of a click command."""
    return [make() for make in OPTIONS]
