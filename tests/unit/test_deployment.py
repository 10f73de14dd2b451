"""The files for a deployment agree with one another."""

import re
import shutil
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import yaml

from sharechat.config import options
from tests.harness.deadline import DEADLINE

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
CADDY = (ROOT / "deploy" / "Caddyfile").read_text()
UNIT = (ROOT / "deploy" / "sharechat.service").read_text()
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()


def value(text: str, name: str) -> str:
    """Return the only value that a setting has."""
    (found,) = re.findall(rf"^[ -]*{name}:? (.+?);?$", text, re.MULTILINE)
    assert isinstance(found, str)
    return found


def test_compose_trusts_its_own_proxies_and_no_one_else() -> None:
    services = yaml.safe_load(COMPOSE)["services"]
    proxies = {
        service["networks"]["default"]["ipv4_address"]
        for service in services.values()
        if "networks" in service
    }
    trusted = services["sharechat"]["environment"]["SHARECHAT_TRUSTED_PROXY"]
    assert set(trusted.split(",")) == proxies
    assert len(proxies) == 2
    for proxy in proxies:
        assert ip_address(proxy) in ip_network(value(COMPOSE, "subnet"))
        # No other container can be given its address.
        assert ip_address(proxy) not in ip_network(value(COMPOSE, "ip_range"))


def test_what_does_tls_leads_to_the_gateway_and_is_there_only_if_it_is_asked_for() -> None:
    services = yaml.safe_load(COMPOSE)["services"]
    assert services["tls"]["profiles"] == ["tls"]
    assert "SHARECHAT_DOMAIN" in services["tls"]["environment"]
    assert "{$SHARECHAT_DOMAIN}" in CADDY
    assert f"reverse_proxy gateway:{value(NGINX, 'listen')}" in CADDY


def test_the_unit_is_valid() -> None:
    """The command is that of the installation, which is not there in a test."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd")
    done = subprocess.run(
        [analyze, "verify", str(ROOT / "deploy" / "sharechat.service")],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert complaints == []


def test_the_unit_names_only_variables_of_the_server() -> None:
    named = set(re.findall(r"\bSHARECHAT_\w+", UNIT))
    assert named
    assert named <= {str(option.envvar) for option in options()}


def test_the_gateway_may_open_as_many_files_as_it_has_connections() -> None:
    connections = int(value(NGINX, "worker_connections"))
    # Besides its connections it has logs and listening sockets.
    assert int(value(NGINX, "worker_rlimit_nofile")) >= connections + 64


def test_the_gateway_passes_on_no_forwarded_header_of_a_client() -> None:
    assert 'proxy_set_header Forwarded "";' in NGINX
    assert "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;" in NGINX
