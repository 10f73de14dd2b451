"""Which Redis URLs are accepted, and what they mean."""

import pytest

from sharechat.adapters.redis import open_queue
from sharechat.adapters.redis.addresses import parse_address
from sharechat.adapters.redis.cluster import Cluster
from sharechat.adapters.redis.sentinel import Sentinels
from sharechat.adapters.redis.url import parse_url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "start with"),
        ("localhost:6379", "start with"),
        ("http://localhost", "start with"),
        ("redis://localhost:secret", "not valid"),
        ("redis://:secret/more@localhost", "not valid"),
        ("redis://localhost/secret", "number"),
        ("redis://localhost/-1", "number"),
        ("redis://localhost?db=secret", "not valid"),
        ("redis://localhost?db=-1", "number"),
        ("redis://localhost?ssl_cert_reqs=none", "requires rediss"),
        ("rediss://localhost?ssl_cert_reqs=perhaps", "required"),
        ("rediss://localhost?ssl_min_version=7", "version"),
        ("rediss://localhost?ssl_validate_ocsp=true", "not supported"),
        ("unix://", "path"),
        ("redis://user:12/secret@localhost", "percent-encoded"),
        ("redis://user:12?secret@localhost", "percent-encoded"),
        ("redis://user:12#secret@localhost", "percent-encoded"),
        ("redis://user:12[secret@localhost", "percent-encoded"),
        ("unix://:12/secret@/run/redis.sock", "percent-encoded"),
        ("redis+sentinel://localhost", "name sentinels and a service"),
        ("redis+sentinel:///chat", "name sentinels and a service"),
        ("redis+sentinel://one,two:secret/chat", "not valid"),
        ("redis+sentinel://:secret/more@localhost/chat", "not valid"),
        ("redis+sentinel://localhost/chat/secret", "number"),
        ("redis+sentinel://localhost/chat?ssl_cert_reqs=none", "requires rediss"),
        ("redis+cluster://", "name nodes of a cluster"),
        ("redis+cluster://localhost/1", "no database"),
        ("redis+cluster://one,two:secret", "not valid"),
        ("redis+cluster://one?db=1", "no databases"),
        ("redis+cluster://one,", "empty"),
        ("redis+sentinel://,one/chat", "empty"),
        ("redis+cluster://:secret/more@localhost", "no database"),
    ],
)
def test_an_invalid_url_is_refused_without_quoting_its_secrets(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        open_queue(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "address", "database"),
    [
        ("redis://", "localhost:6379", 0),
        ("redis://:secret@redis.example:1234/5", "redis.example:1234", 5),
        ("rediss://user:secret@[::1]?db=2&socket_timeout=5", "[::1]:6379", 2),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock", 1),
    ],
)
def test_a_url_names_an_address_and_a_database(url: str, address: str, database: int) -> None:
    endpoint = parse_url(url)
    assert str(endpoint) == address
    assert endpoint.database == database
    assert "secret" not in repr(endpoint)


def test_a_url_may_name_a_service_and_its_sentinels() -> None:
    url = "rediss+sentinel://user:secret@one.example,[::1]:1234/my%20chat/5?ssl_cert_reqs=none"
    sentinels = parse_address(url)
    assert isinstance(sentinels, Sentinels)
    assert str(sentinels) == "my chat of the sentinels [::1]:1234, one.example:26379"
    primary = sentinels.primary
    assert (primary.username, primary.password, primary.database) == ("user", "secret", 5)
    assert primary.tls == {"ssl_cert_reqs": "none"}


def test_a_url_may_name_nodes_of_a_cluster() -> None:
    cluster = parse_address(
        "rediss+cluster://user:secret@one.example,[::1]:1234?ssl_cert_reqs=none"
    )
    assert isinstance(cluster, Cluster)
    assert str(cluster) == "the cluster of one.example:6379, [::1]:1234"
    assert (cluster.pattern.username, cluster.pattern.password) == ("user", "secret")
    assert cluster.pattern.tls == {"ssl_cert_reqs": "none"}
