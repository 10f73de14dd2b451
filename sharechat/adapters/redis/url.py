"""Where Redis is and how to get in, as its URL says."""

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from redis.connection import parse_url

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
class Server:
    """One Redis server. As text it is its address, without any secret."""

    host: str = "localhost"
    port: int = 6379
    path: str | None = None
    """Of its Unix socket, which then counts instead of `host` and `port`."""
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    tls: dict[str, Any] | None = field(default=None, repr=False)
    """The URL's ssl_* options, or None if it is not spoken to over TLS."""

    def __str__(self) -> str:
        if self.path is not None:
            return self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def make_tls_context(self) -> ssl.SSLContext:
        """Return the context that the ssl_* options describe: by default, verify everything.

        Reads the files that they name. Raises OSError or ValueError if these are no good.
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


def parse_server(url: str) -> Server:
    """Return the server that `url` names.

    The forms are redis-py's: `redis://[[user]:password@]host[:port][/database]`, `rediss://`
    for TLS, `unix://path?db=database`, with the ssl_* options in the query. Options that only
    matter to redis-py's own connections are ignored. Raises ValueError with a sentence that
    does not repeat the URL, which may hold a password.
    """
    scheme = url.partition("://")[0]
    if scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("The Redis URL must start with redis://, rediss:// or unix://.")
    try:
        options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        # The reason can quote the URL: what follows an unquoted "/" in a password reads as
        # a port that is none.
        raise ValueError(
            "The Redis URL has a port or an option that is not valid, or a password whose "
            "special characters are not percent-encoded."
        ) from None
    database = options.get("db", 0)
    path = urlsplit(url).path.strip("/")
    if database < 0 or (scheme != "unix" and path and not path.isdecimal()):
        raise ValueError("The database in the Redis URL must be a number from 0 on.")
    if scheme == "unix" and "path" not in options:
        raise ValueError("The Redis URL names no path of a Unix socket.")
    return Server(
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
            raise ValueError(f"The Redis URL has {min(tls)}, which needs rediss://.")
        return None
    # Nothing about security is ignored in silence.
    if unknown := tls.keys() - _TLS_OPTIONS:
        raise ValueError(f"The Redis URL has {min(unknown)}, which is not supported.")
    if tls.get("ssl_cert_reqs", "required") not in _VERIFY_MODES:
        raise ValueError("ssl_cert_reqs in the Redis URL must be none, optional or required.")
    if "ssl_min_version" in tls:
        try:
            ssl.TLSVersion(tls["ssl_min_version"])
        except ValueError:
            raise ValueError("ssl_min_version in the Redis URL is no version of TLS.") from None
    return tls
