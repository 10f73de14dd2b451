"""Addresses: what is one address, and which one a request that came through proxies counts for."""

import pytest

from sharechat.net.addresses import Proxies, grouped, parse

PROXY = parse("10.0.0.1")


def client(*forwarded_for: str, peer: str = "10.0.0.1", forwarded: tuple[str, ...] = ()) -> str:
    """Return whom a request counts for if 10.0.0.0/8 is trusted."""
    return str(Proxies(["10.0.0.0/8"]).client(parse(peer), forwarded_for, forwarded))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
    ],
)
def test_an_address_is_read_in_every_form(text: str, address: str) -> None:
    assert str(parse(text)) == address


@pytest.mark.parametrize("text", ["", "unknown", "_hidden", "[", "[]:80", "1.2.3", "a:80", ":80"])
def test_what_is_no_address_is_not_read_as_one(text: str) -> None:
    assert parse(text) is None


def test_ipv6_addresses_of_one_64_network_count_as_one() -> None:
    assert grouped(parse("2001:db8::1")) == grouped(parse("2001:db8::ffff:ffff:ffff:ffff"))
    assert grouped(parse("2001:db8::1")) != grouped(parse("2001:db8:0:1::1"))
    assert grouped(parse("fe80::1%eth0")) == grouped(parse("fe80::2%eth1"))
    assert grouped(parse("192.0.2.1")) != grouped(parse("192.0.2.2"))


def test_a_request_counts_for_the_last_hop_that_is_not_a_trusted_proxy() -> None:
    assert client("192.0.2.1") == "192.0.2.1"
    assert client("203.0.113.9, 192.0.2.1") == "192.0.2.1"
    assert client("203.0.113.9", "192.0.2.1, 10.0.0.2") == "192.0.2.1"
    assert client("192.0.2.1:4711, [::ffff:10.0.0.2]:80") == "192.0.2.1"
    assert client("[2001:db8::1]:4711") == "2001:db8::1"


def test_an_untrusted_peer_counts_for_itself_whatever_it_sends() -> None:
    assert client("192.0.2.1", peer="203.0.113.9") == "203.0.113.9"
    assert client(forwarded=("for=192.0.2.1",), peer="203.0.113.9") == "203.0.113.9"


def test_an_ipv4_proxy_is_trusted_over_an_ipv6_socket() -> None:
    assert client("192.0.2.1", peer="::ffff:10.0.0.1") == "192.0.2.1"
    mapped = Proxies(["::ffff:10.0.0.0/104"])
    assert parse("10.0.0.1") in mapped
    assert parse("11.0.0.1") not in mapped


def test_if_every_hop_is_trusted_the_first_one_counts() -> None:
    assert client("10.1.1.1, 10.2.2.2") == "10.1.1.1"
    assert client() == "10.0.0.1"


def test_a_hop_that_cannot_be_read_counts_as_the_proxy_that_told_of_it() -> None:
    assert client("192.0.2.1, unknown, 10.2.2.2") == "10.2.2.2"
    assert client("") == "10.0.0.1"


def test_a_peer_on_a_unix_socket_is_a_proxy() -> None:
    assert client("192.0.2.1", peer="") == "192.0.2.1"


@pytest.mark.parametrize(
    ("values", "address"),
    [
        (["for=192.0.2.1"], "192.0.2.1"),
        (["proto=https; For=192.0.2.1 ;by=10.0.0.9"], "192.0.2.1"),
        (['for="192.0.2.1:4711"'], "192.0.2.1"),
        (['for="[2001:db8::1]:4711"'], "2001:db8::1"),
        (["for=203.0.113.9, for=192.0.2.1, for=10.0.0.2"], "192.0.2.1"),
        (["for=203.0.113.9", "for=192.0.2.1"], "192.0.2.1"),
        (["for=203.0.113.9, for=_hidden"], "10.0.0.1"),
        (["for=203.0.113.9, proto=https"], "10.0.0.1"),
        # A client that opens a quote does not hide what the proxy adds.
        (['for=203.0.113.9, x="', 'for="192.0.2.1"'], "192.0.2.1"),
        # Nor does a proxy's word about the client's request bring in another address.
        (['for=192.0.2.1;host="a, for=203.0.113.9"'], "10.0.0.1"),
    ],
)
def test_the_forwarded_header_is_understood(values: list[str], address: str) -> None:
    assert client(forwarded=tuple(values)) == address


def test_x_forwarded_for_counts_before_forwarded() -> None:
    assert client("192.0.2.1", forwarded=("for=203.0.113.9",)) == "192.0.2.1"
