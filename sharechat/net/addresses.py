"""Which address a connection or a request comes from, and what counts as one address."""

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

Address = IPv4Address | IPv6Address | None
"""None if the peer has no address: it uses a Unix socket."""


def parse(text: str) -> Address:
    """Return the address in `text`, which may have brackets and a port; None if there is none.

    An IPv4 address in IPv6 form (`::ffff:192.0.2.1`), as a socket that accepts both kinds shows
    it, is the IPv4 address.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def grouped(address: Address) -> Address:
    """Return what stands for all addresses that count as one with `address`.

    For IPv6 that is the first address of its /64, the smallest network that a customer gets:
    a single machine can use any address in it.
    """
    if isinstance(address, IPv6Address):
        return IPv6Address(int(address) >> 64 << 64)
    return address


class Proxies:
    """The proxies that are trusted to tell the client's address."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [_unmapped(network) for network in networks]

    def __contains__(self, address: Address) -> bool:
        # Only a process on this machine, and so a proxy, uses a Unix socket.
        return address is None or any(address in network for network in self._networks)

    def client(
        self, peer: Address, forwarded_for: Sequence[str], forwarded: Sequence[str]
    ) -> Address:
        """Return the address of the client whose request came from `peer`.

        `forwarded_for` and `forwarded` are the values of the request's X-Forwarded-For and
        Forwarded (RFC 7239) headers; the latter count only without the former. Whatever stands
        to the left of the first proxy's word may be forged, so the client is the last hop that
        is not a trusted proxy. If all are trusted, it is the first hop. A hop without an
        address, such as `unknown`, counts as the proxy that told of it.
        """
        hops = ",".join(forwarded_for).split(",") if forwarded_for else _hops(forwarded)
        client = peer
        for hop in reversed(hops):
            if client not in self or (address := parse(hop)) is None:
                break
            client = address
        return client


def _hops(forwarded: Sequence[str]) -> list[str]:
    """Return the `for` of each element of Forwarded headers, "" for an element that has none.

    The elements are separated at every comma, also within a quoted string: a client could
    otherwise hide what the proxy adds by opening a quote. A part of a quoted string is an element
    without an address.
    """
    return [_for(element) for element in ",".join(forwarded).split(",")]


def _for(element: str) -> str:
    if element.count('"') % 2:
        return ""
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value.strip().strip('"')
    return ""


def _unmapped(text: str) -> IPv4Network | IPv6Network:
    network = ip_network(text)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped:
            return ip_network((mapped, network.prefixlen - 96))
    return network
