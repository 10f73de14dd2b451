"""The files for a deployment agree with one another."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()


def value(text: str, name: str) -> str:
    """Return the only value that a setting has."""
    (found,) = re.findall(rf"^[ -]*{name}:? (.+?);?$", text, re.MULTILINE)
    assert isinstance(found, str)
    return found


def test_compose_trusts_its_own_gateway_and_no_one_else() -> None:
    gateway = value(COMPOSE, "ipv4_address")
    assert value(COMPOSE, "SHARECHAT_TRUSTED_PROXY") == gateway
    assert ip_address(gateway) in ip_network(value(COMPOSE, "subnet"))
    # No other container can be given its address.
    assert ip_address(gateway) not in ip_network(value(COMPOSE, "ip_range"))


def test_the_gateway_may_open_as_many_files_as_it_has_connections() -> None:
    connections = int(value(NGINX, "worker_connections"))
    # Besides its connections it has logs and listening sockets.
    assert int(value(NGINX, "worker_rlimit_nofile")) >= connections + 64


def test_the_gateway_passes_on_no_forwarded_header_of_a_client() -> None:
    assert 'proxy_set_header Forwarded "";' in NGINX
    assert "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" in NGINX
