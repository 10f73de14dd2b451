"""Redis URLs: parsed into an endpoint with credentials and TLS options."""

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from redis.connection import parse_url as parse_with_redis_py

_VERIFY_MODES = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_TLS_OPTIONS = {
    "ssl_ca_certs",
    "ssl_ca_data",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_ciphers",
    "ssl_keyfile",
    "ssl_min_version",
    "ssl_password",
}


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a Redis server listens and how to connect to it.

    Its `str` is the address alone, and its `repr` contains no password.
    """

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    """The path of a Unix socket, used instead of `host` and `port` if it is not None."""
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    tls: dict[str, Any] | None = field(default=None, repr=False)
    """The URL's ssl_* options, or None for a connection without TLS."""

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def make_tls_context(self) -> ssl.SSLContext:
        """Return the context that the ssl_* options describe.

        By default the server's certificate and host name are verified. Reads the files that
        the options name. Raises OSError or ValueError if an option or a file is not valid.
        """
        options = self.tls or {}
        context = ssl.create_default_context(
            cafile=options.get("ssl_ca_certs"),
            capath=options.get("ssl_ca_path"),
            cadata=options.get("ssl_ca_data"),
        )
        mode = _VERIFY_MODES[options.get("ssl_cert_reqs", "required")]
        context.check_hostname = mode != ssl.CERT_NONE and options.get("ssl_check_hostname", True)
        context.verify_mode = mode
        if "ssl_certfile" in options:
            context.load_cert_chain(
                options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password")
            )
        if "ssl_min_version" in options:
            context.minimum_version = ssl.TLSVersion(options["ssl_min_version"])
        if "ssl_ciphers" in options:
            context.set_ciphers(options["ssl_ciphers"])
        return context


def parse_url(url: str) -> Endpoint:
    """Return the endpoint that `url` names.

    Takes the forms that redis-py takes: `redis://[[user]:password@]host[:port][/database]`,
    `rediss://` for TLS and `unix://path?db=database`, with ssl_* options in the query. Other
    options, which only concern redis-py's own connections, are ignored. Raises ValueError
    with a sentence that does not quote the URL, since the URL may contain a password.
    """
    scheme = url.partition("://")[0]
    if scheme not in {"redis", "rediss", "unix"}:
        raise ValueError(
            "The Redis URL must start with redis://, rediss://, unix://, redis+sentinel:// or "
            "redis+cluster://."
        )
    try:
        options: dict[str, Any] = parse_with_redis_py(url)  # type: ignore[no-untyped-call]
    except ValueError:
        # The original error may quote a part of the password: if the password contains an
        # unquoted "/", what precedes the "/" is parsed as a port.
        raise ValueError(
            "The Redis URL has a port or an option that is not valid, or a password whose "
            "special characters are not percent-encoded."
        ) from None
    parts = urlsplit(url)
    if parts.fragment or "@" in parts.path + parts.query:
        # Host and port are then parts of a password with a "/", "?" or "#", and messages name them.
        raise ValueError(
            "The Redis URL has a password whose special characters are not percent-encoded."
        )
    database = options.get("db", 0)
    path = parts.path.strip("/")
    if database < 0 or (scheme != "unix" and path and not path.isdecimal()):
        raise ValueError("The database in the Redis URL must be a number, 0 or greater.")
    if scheme == "unix" and "path" not in options:
        raise ValueError("The Redis URL must contain the path of a Unix socket.")
    return Endpoint(
        host=options.get("host", "localhost"),
        port=options.get("port", 6379),
        path=options.get("path"),
        username=options.get("username", ""),
        password=options.get("password", ""),
        database=database,
        tls=_tls_options(options, scheme),
    )


def _tls_options(options: dict[str, Any], scheme: str) -> dict[str, Any] | None:
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    if scheme != "rediss":
        if tls:
            raise ValueError(f"The Redis URL has {min(tls)}, which requires rediss://.")
        return None
    # Ignoring an option that concerns security could leave a connection less safe than meant.
    if unknown := tls.keys() - _TLS_OPTIONS:
        raise ValueError(f"The Redis URL has {min(unknown)}, which is not supported.")
    if tls.get("ssl_cert_reqs", "required") not in _VERIFY_MODES:
        raise ValueError("ssl_cert_reqs in the Redis URL must be none, optional or required.")
    if "ssl_min_version" in tls:
        try:
            ssl.TLSVersion(tls["ssl_min_version"])
        except ValueError:
            raise ValueError(
                "ssl_min_version in the Redis URL is not a valid TLS version."
            ) from None
    return tls
