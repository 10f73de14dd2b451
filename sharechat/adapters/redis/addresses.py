"""What the URLs of Redis name: a server, a service and its sentinels, or a cluster."""

import re
from urllib.parse import parse_qsl, quote, unquote, urlencode

from sharechat.adapters.redis.cluster import Cluster
from sharechat.adapters.redis.sentinel import Sentinels
from sharechat.adapters.redis.url import Endpoint, parse_url

_SCHEME = re.compile(r"(rediss?)\+(sentinel|cluster)://")
_SENTINEL_PORT = 26379
_PORT = 6379


def parse_address(url: str) -> Endpoint | Sentinels | Cluster:
    """Return what a Redis URL names.

    - `redis+sentinel://[[user:]password@]host[:port][,host[:port]]/service[/database]`: user and
      password are those of the service; those of the sentinels are the options
      `sentinel_username` and `sentinel_password`.
    - `redis+cluster://[[user:]password@]host[:port][,host[:port]]`: some nodes, which know the
      others.

    `rediss+` is TLS for all. All else, and what is raised, is as in `parse_url`.
    """
    match = _SCHEME.match(url)
    if match is None:
        return parse_url(url)
    scheme, kind = match.groups()
    address, _, query = url[match.end() :].partition("?")
    netloc, _, path = address.partition("/")
    user, at, hosts = netloc.rpartition("@")
    login = user + at
    options = dict(parse_qsl(query))
    if kind == "cluster":
        if not hosts or path.strip("/"):
            raise ValueError(
                "The Redis URL must name nodes of a cluster, and no database: "
                "redis+cluster://host,host."
            )
        nodes = _parse_hosts(scheme, login, hosts, _PORT, options)
        if nodes[0].database:
            raise ValueError("A Redis Cluster has no databases: the Redis URL must not name one.")
        return Cluster(nodes)
    service, _, database = path.partition("/")
    if not service or not hosts:
        raise ValueError(
            "The Redis URL must name sentinels and a service: redis+sentinel://host,host/service."
        )
    sentinel_user = quote(options.pop("sentinel_username", ""), safe="")
    sentinel_password = quote(options.pop("sentinel_password", ""), safe="")
    sentinel_login = f"{sentinel_user}:{sentinel_password}@" if sentinel_password else ""
    sentinels = _parse_hosts(scheme, sentinel_login, hosts, _SENTINEL_PORT, options)
    first, *_ = hosts.split(",")
    rest = f"?{urlencode(options)}" if options else ""
    primary = parse_url(f"{scheme}://{login}{first}/{database}{rest}")
    return Sentinels(sentinels, unquote(service), primary)


def _parse_hosts(
    scheme: str, login: str, hosts: str, port: int, options: dict[str, str]
) -> list[Endpoint]:
    rest = f"?{urlencode(options)}" if options else ""
    if not all(hosts.split(",")):
        raise ValueError("A host in the Redis URL is empty.")
    return [
        parse_url(
            f"{scheme}://{login}{host if re.search(r':[0-9]+$', host) else f'{host}:{port}'}{rest}"
        )
        for host in hosts.split(",")
    ]
