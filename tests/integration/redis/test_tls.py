"""A RedisQueue that reaches Redis over TLS, through a proxy that terminates it."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sharechat.domain.ids import new_room_id
from tests.harness.queues import Recorder, until_working
from tests.harness.redis import Proxy, RedisServer
from tests.harness.redis_queues import (
    assert_hears_once,
    impatient_queue,
    running,
    until_failing,
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a self-signed certificate for 127.0.0.1. Its key is in the file + ".key"."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    request = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*request.split(), *names, "-keyout", f"{path}.key", "-out", path],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
async def tls_port(certificate: Path, server: RedisServer, nursery: trio.Nursery) -> int:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, f"{certificate}.key")
    proxy = Proxy()
    await nursery.start(proxy.run, server, context)
    return proxy.port


@pytest.mark.parametrize("query", ["ssl_ca_certs={}", "ssl_cert_reqs=none"])
async def test_messages_travel_over_tls(
    server: RedisServer, certificate: Path, tls_port: int, query: str, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1
    room_id = new_room_id()
    url = f"rediss://127.0.0.1:{tls_port}?{query.format(certificate)}"
    queue, publisher = impatient_queue(url), impatient_queue(url)
    async with running(queue, room_id) as recorder, running(publisher):
        await assert_hears_once(publisher, recorder, room_id)
        server.freeze()
        assert "the probe" in await until_failing(queue, clock=mock_clock)
        server.thaw()
        await until_working(queue)
        await until_working(publisher)
        await assert_hears_once(publisher, recorder, room_id)


@pytest.mark.parametrize(
    ("query", "host", "reason"),
    [
        ("", "127.0.0.1", "self.signed certificate"),
        ("ssl_ca_certs={}", "localhost", "not valid for 'localhost'"),
        ("ssl_ca_certs=/no/such/file", "127.0.0.1", "No such file"),
    ],
)
async def test_a_server_whose_certificate_cannot_be_verified_is_not_used(
    certificate: Path, tls_port: int, nursery: trio.Nursery, query: str, host: str, reason: str
) -> None:
    queue = impatient_queue(f"rediss://{host}:{tls_port}?{query.format(certificate)}")
    await nursery.start(queue.run, Recorder())
    text = await until_failing(queue, "ssl_" if "such" in query else "certificate")
    # Versions of OpenSSL differ in their punctuation.
    assert reason.replace(".", " ") in text.replace("-", " ").replace(".", " ")
