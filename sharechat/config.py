"""The settings. Each is a flag and an environment variable, checked once at the start."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click
from platformdirs import user_data_path

from sharechat.actors.policy import Policy
from sharechat.param_types import Duration, Host, HostPort, Network, Origin, Rate, Size, Url


def default_data() -> Path:
    """Return the file that keeps the rooms if no other is named."""
    return user_data_path("sharechat") / "sharechat.db"


LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class Settings:
    """The configuration of `sharechat serve`; OPTIONS says what each setting means."""

    host: str = "127.0.0.1"
    port: int = 8080
    unix: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    allowed_origin: tuple[str, ...] = ()
    allowed_host: tuple[str, ...] = ()
    room_ttl: float = 24 * 3600
    max_message_bytes: int = 16 * 1024
    message_rate: float = 20
    message_burst: int = 40
    room_rate: float = 2
    join_rate: float = 40
    log_level: str = "info"
    log_json: bool = False
    access_log: bool = False
    drain_delay: float = 0
    database_url: str | None = None
    redis_url: str | None = None
    workers: int = 1
    max_members: int = 16384
    max_per_address: int = 4096
    trusted_proxy: tuple[str, ...] = ()
    max_memory: int = 512 << 20
    data: Path | None = None
    in_memory: bool = False
    max_data: int = 10 << 30
    no_page: bool = False
    metrics: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        """Raise click.UsageError, with a sentence for the user, if settings conflict."""
        if bool(self.database_url) != bool(self.redis_url):
            missing = (
                "--redis-url (REDIS_URL)" if self.database_url else "--database-url (DATABASE_URL)"
            )
            raise click.UsageError(
                f"{missing} is missing: a cluster needs both Postgres and Redis."
            )
        named = "--in-memory" if self.in_memory else "--data" if self.data else None
        if self.database_url and named:
            raise click.UsageError(f"{named} makes no sense with --database-url: choose one.")
        if self.in_memory and self.data:
            raise click.UsageError("--in-memory makes no sense with --data: choose one.")
        if self.keyfile and not self.certfile:
            raise click.UsageError("--keyfile needs --certfile, the certificate of the key.")
        if self.workers > 1 and not self.database_url:
            raise click.UsageError(
                "--workers needs --database-url and --redis-url: processes share rooms only "
                "through Postgres and Redis."
            )

    @property
    def data_file(self) -> Path:
        """The file that keeps the rooms, unless they are in memory or in a database."""
        return (self.data or default_data()).absolute()

    def policy(self) -> Policy:
        return Policy(
            message_rate=self.message_rate,
            message_burst=self.message_burst,
            room_ttl=self.room_ttl,
        )

    @classmethod
    def from_environment(cls) -> "Settings":
        """Return the settings in the environment variables.

        Raises click.UsageError, with a sentence for the user, if one is not valid.
        """
        return cls.from_params(
            click.Command("serve", params=options()).make_context("serve", []).params
        )

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "Settings":
        """Return the settings in the parameters that click has parsed."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in params.items() if name in names})


def _option(*names: str, **attributes: Any) -> Callable[[], click.Option]:
    return lambda: click.Option(names, show_envvar=True, show_default=True, **attributes)


DATA_OPTION = _option(
    "--data",
    envvar="SHARECHAT_DATA",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file that keeps the rooms, unless --database-url names a database; by default "
    "sharechat/sharechat.db in the user's data folder. One process at a time uses it.",
)

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
        "--unix",
        envvar="SHARECHAT_UNIX",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Listen on a Unix socket at this path instead of on --host and --port.",
    ),
    _option(
        "--certfile",
        envvar="SHARECHAT_CERTFILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Speak TLS, with the certificate chain in this file (PEM). SIGHUP makes the server "
        "read it again for new connections, instead of stopping it.",
    ),
    _option(
        "--keyfile",
        envvar="SHARECHAT_KEYFILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The private key of the certificate (PEM, without a password); by default it is in "
        "--certfile, too.",
    ),
    _option(
        "--allowed-origin",
        envvar="SHARECHAT_ALLOWED_ORIGIN",
        type=Origin(),
        multiple=True,
        help="An origin whose pages may use the server, besides the server's own host; "
        "* allows all. Repeatable; the variable takes several, separated by spaces or commas.",
    ),
    _option(
        "--allowed-host",
        envvar="SHARECHAT_ALLOWED_HOST",
        type=Host(),
        multiple=True,
        help="A name that clients may reach the server by, without a port, besides localhost and "
        "IP addresses; * allows all. By default any name, except for connections to a loopback "
        "address. Repeatable; the variable takes several, separated by spaces or commas.",
    ),
    _option(
        "--database-url",
        envvar="DATABASE_URL",
        type=Url("postgresql", "postgres"),
        help="The Postgres that keeps the rooms; together with --redis-url. "
        "Without the two the rooms are kept in a file.",
    ),
    _option(
        "--redis-url",
        envvar="REDIS_URL",
        type=Url(
            "redis",
            "rediss",
            "unix",
            "redis+sentinel",
            "rediss+sentinel",
            "redis+cluster",
            "rediss+cluster",
        ),
        help="The Redis that carries messages between processes; or its sentinels, "
        "redis+sentinel://HOST,HOST/SERVICE; or nodes of a cluster of Redis 7, "
        "redis+cluster://HOST,HOST.",
    ),
    DATA_OPTION,
    _option(
        "--in-memory",
        envvar="SHARECHAT_IN_MEMORY",
        is_flag=True,
        help="Keep everything in memory: it is gone when the server stops.",
    ),
    _option(
        "--max-data",
        envvar="SHARECHAT_MAX_DATA",
        type=Size(),
        default="10GiB",
        help="How large the file may become, such as 500MiB or 10GiB. Past it messages fail and "
        "no rooms are made.",
    ),
    _option(
        "--workers",
        envvar="SHARECHAT_WORKERS",
        type=click.IntRange(1, 256),
        default=Settings.workers,
        help="How many processes serve the port.",
    ),
    _option(
        "--room-ttl",
        envvar="SHARECHAT_ROOM_TTL",
        type=Duration(),
        default="24h",
        help="How long a room lasts with nobody in it, such as 90s, 15m, 24h, 7d.",
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
        type=Rate(0),
        default=Settings.message_rate,
        help="Messages a second from one member; one address may send ten times as many. "
        "0 sets no limit.",
    ),
    _option(
        "--message-burst",
        envvar="SHARECHAT_MESSAGE_BURST",
        type=click.IntRange(1),
        default=Settings.message_burst,
        help="How many messages a member may send at once before the rate holds.",
    ),
    _option(
        "--room-rate",
        envvar="SHARECHAT_ROOM_RATE",
        type=Rate(0),
        default=Settings.room_rate,
        help="Rooms a second that one address may make, after a burst of those of a hundred "
        "seconds; 0 sets no limit.",
    ),
    _option(
        "--join-rate",
        envvar="SHARECHAT_JOIN_RATE",
        type=Rate(0),
        default=Settings.join_rate,
        help="How often a second one address may join rooms, after a burst of what it may do in "
        "a hundred seconds; 0 sets no limit.",
    ),
    _option(
        "--max-memory",
        envvar="SHARECHAT_MAX_MEMORY",
        type=Size(),
        default="512MiB",
        help="How much a process with --in-memory keeps of rooms and messages, such as "
        "64MiB or 2GiB. Past it messages fail and no rooms are made.",
    ),
    _option(
        "--max-members",
        envvar="SHARECHAT_MAX_MEMBERS",
        type=click.IntRange(1),
        default=Settings.max_members,
        help="How many members one process takes.",
    ),
    _option(
        "--max-per-address",
        envvar="SHARECHAT_MAX_PER_ADDRESS",
        type=click.IntRange(1),
        default=Settings.max_per_address,
        help="How many connections one address may have to one process.",
    ),
    _option(
        "--trusted-proxy",
        envvar="SHARECHAT_TRUSTED_PROXY",
        type=Network(),
        multiple=True,
        help="An address or network (10.0.0.0/8) of proxies whose X-Forwarded-For or "
        "Forwarded tells the client's address. Repeatable; the variable takes several, separated "
        "by spaces or commas.",
    ),
    _option(
        "--no-page",
        envvar="SHARECHAT_NO_PAGE",
        is_flag=True,
        help="Serve only the API, and no page to people who open the server's address.",
    ),
    _option(
        "--metrics",
        envvar="SHARECHAT_METRICS",
        type=HostPort(),
        help="An address, such as 127.0.0.1:9091, on which /metrics shows Prometheus how the "
        "server does. Whoever reaches it may read it.",
    ),
    _option(
        "--log-level",
        envvar="SHARECHAT_LOG_LEVEL",
        type=click.Choice(LOG_LEVELS),
        default=Settings.log_level,
        help="The lowest level that is logged.",
    ),
    _option(
        "--log-json",
        envvar="SHARECHAT_LOG_JSON",
        is_flag=True,
        help="Log JSON, one object a line; the greeting, too.",
    ),
    _option(
        "--access-log",
        envvar="SHARECHAT_ACCESS_LOG",
        is_flag=True,
        help="Log every request: method, path, status and how long it took.",
    ),
    _option(
        "--drain-delay",
        envvar="SHARECHAT_DRAIN_DELAY",
        type=Duration(or_zero=True),
        default="0s",
        help="How long /readyz says no before stopping begins, such as 10s. Until then everything "
        "is served, and whatever is in front of the server can send clients elsewhere.",
    ),
)


def options(*names: str) -> list[click.Parameter]:
    """Return new instances of the options with these names, or of all, for a click command."""
    made: list[click.Parameter] = [make() for make in OPTIONS]
    return [option for option in made if not names or option.name in names]
