"""PostgreSQL URLs: checked before they are used, so that no later error can quote a password."""

import psycopg
from psycopg.conninfo import conninfo_to_dict


def check_url(url: str) -> None:
    """Raise ValueError if `url` is not a valid URL or connection string.

    The text of the error is a sentence that does not quote the URL. An "@" or "/" in a
    password that is not percent-encoded moves a part of the password into the host, the port
    or the database, which error messages quote. So such a URL is not valid.
    """
    try:
        params = conninfo_to_dict(url)
        ports = [int(port) for port in str(params.get("port") or "5432").split(",") if port]
    except (psycopg.Error, ValueError):
        ports = [0]
    _, is_uri, rest = url.partition("://")
    before_query = rest.partition("?")[0]
    if (
        not all(0 < port < 65536 for port in ports)
        or (is_uri and rest.count("@") > 1)
        or (is_uri and "@" in before_query.partition("/")[2])
    ):
        raise ValueError(
            "The database URL has a port or an option that is not valid, or a password whose "
            "special characters are not percent-encoded."
        )
