"""Types of the settings: what each accepts, and how it says what is wrong."""

import re
from ipaddress import ip_network
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

import click


class Url(click.ParamType):  # type: ignore[type-arg]
    """A URL with one of these schemes."""

    name = "url"

    def __init__(self, *schemes: str) -> None:
        self._schemes = schemes

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | None:
        scheme, found, _ = value.partition("://")
        if value and (not found or scheme not in self._schemes):
            # The value may hold a password, so it is not shown.
            self.fail(
                f"it must begin with {' or '.join(f'{s}://' for s in self._schemes)}.", param, ctx
            )
        return value or None


class HostPort(click.ParamType):  # type: ignore[type-arg]
    """An address to listen on, such as 127.0.0.1:9091 or [::1]:9091."""

    name = "host:port"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\s]+)):([0-9]{1,5})", value)
        if not found or int(found[3]) > 65535:
            self.fail(f"{value!r} is not an address such as 127.0.0.1:9091.", param, ctx)
        return found[1] or found[2], int(found[3])


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType):  # type: ignore[type-arg] # generic in new clicks only
    """Seconds, or a number with the unit s, m, h or d, such as 24h."""

    name = "duration"

    def __init__(self, *, or_zero: bool = False) -> None:
        self._or_zero = or_zero

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, int | float):
            return value
        number, unit = (value[:-1], value[-1]) if value[-1:] in _UNITS else (value, "s")
        try:
            seconds = float(number) * _UNITS[unit]
        except ValueError:
            self.fail(f"{value!r} is not a duration such as 90, 90s, 15m, 24h or 7d.", param, ctx)
        if not (0 < seconds < float("inf") or (self._or_zero and seconds == 0)):
            least = "zero or longer" if self._or_zero else "longer than zero"
            self.fail(f"{value!r} must be {least}.", param, ctx)
        return seconds


_SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}

_LEAST_SIZE = 1 << 20


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, or a number with the unit KiB, MiB or GiB, such as 512MiB; at least 1MiB."""

    name = "size"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        number, unit = (value[:-3], value[-3:]) if value[-3:] in _SIZES else (value, "")
        if not re.fullmatch(r"[0-9]{1,15}", number) or not int(number):
            self.fail(f"{value!r} is not a size such as 2000000, 64MiB or 2GiB.", param, ctx)
        size = int(number) * _SIZES.get(unit, 1)
        if size < _LEAST_SIZE:
            self.fail(f"{value!r} is too little: it must be at least 1MiB.", param, ctx)
        return size


class _Listed(click.ParamType):  # type: ignore[type-arg]
    """A type of which an environment variable may have several, by spaces or commas."""

    def split_envvar_value(self, rv: str) -> list[str]:
        return rv.replace(",", " ").split()


class Network(_Listed):
    """An IP address or network."""

    name = "network"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(ip_network(value))
        except ValueError:
            self.fail(f"{value!r} is not an address or network such as 10.0.0.0/8.", param, ctx)


class Rate(click.FloatRange):
    """A number that is zero or greater, and finite."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        rate: float = super().convert(value, param, ctx)
        if not isfinite(rate):
            self.fail(f"{value!r} is not a rate.", param, ctx)
        return rate


def _is_origin(value: str) -> bool:
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:  # Brackets that do not close, or an invalid port.
        return False
    whole = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
    return parts.scheme in ("http", "https") and host != "" and value.lower() == whole


class Origin(_Listed):
    """An origin as a browser sends it (RFC 6454), or * for all."""

    name = "origin"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value != "*" and not _is_origin(value):
            self.fail(f"{value!r} is not an origin such as https://chat.example, or *.", param, ctx)
        return value.lower()


class Host(_Listed):
    """A name for this server, without a port, or * for any."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value != "*" and not re.fullmatch(r"\w([\w.-]*\w)?", value, re.ASCII):
            self.fail(f"{value!r} is not a name such as chat.example, or *.", param, ctx)
        return value.lower()
