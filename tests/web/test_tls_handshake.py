"""TLS handshakes that take long, and those of clients past a limit."""

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from sharechat.adapters.memory import MemoryBus, MemoryRepository
from sharechat.bootstrap import Server, Stores, build
from sharechat.config import Settings
from sharechat.net import acceptor
from sharechat.net.certificate import Certificate
from tests.harness.deadline import DEADLINE
from tests.harness.peer import Peer
from tests.harness.serving import serving
from tests.harness.tls import open_tls, write_certificate

GET = b"GET /api/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(name="certificate")
def _certificate(tmp_path: Path) -> Certificate:
    _, certfile, _, keyfile = write_certificate(tmp_path)
    return Certificate(Path(certfile), Path(keyfile))


def make_server(*, max_per_address: int = 1000) -> Server:
    stores = Stores(MemoryRepository(), MemoryBus().queue())
    return build(Settings(in_memory=True, max_per_address=max_per_address), stores)


async def status(port: int) -> str:
    peer = Peer(await open_tls(port))
    await peer.send(GET)
    head, _ = await peer.response()
    peer.drop()
    return head.split()[1]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x01\x00"], ids=["nothing", "a beginning"])
async def test_handshakes_that_do_not_end_make_nobody_wait_and_are_cut_off(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    async with serving(make_server(), certificate=certificate) as address:
        monkeypatch.setattr(acceptor, "HANDSHAKE_TIMEOUT", DEADLINE)
        silent = [await trio.open_tcp_stream(*address) for _ in range(50)]
        for stream in silent:
            await stream.send_all(sent)
        assert await status(address[1]) == "200"
        monkeypatch.setattr(acceptor, "HANDSHAKE_TIMEOUT", 0.1)
        late = await trio.open_tcp_stream(*address)
        await late.send_all(sent)
        with trio.fail_after(DEADLINE / 2), suppress(trio.BrokenResourceError):
            assert await late.receive_some() == b""
        for stream in (late, *silent):
            await stream.aclose()


async def test_a_client_over_the_limit_gets_its_answer_over_tls(certificate: Certificate) -> None:
    async with serving(make_server(max_per_address=1), certificate=certificate) as address:
        first = Peer(await open_tls(address[1]))
        await first.send(GET)
        await first.response()
        assert await status(address[1]) == "429"
        first.drop()


async def test_stopping_does_not_wait_for_handshakes(certificate: Certificate) -> None:
    async with serving(make_server(), certificate=certificate) as address:
        stream = await trio.open_tcp_stream(*address)
        assert await status(address[1]) == "200"  # It was accepted after the other.
    with trio.fail_after(DEADLINE), suppress(trio.BrokenResourceError):
        assert await stream.receive_some() == b""
    await stream.aclose()


def test_a_new_context_is_made_of_new_files_and_not_of_wrong_ones(
    certificate: Certificate, tmp_path: Path
) -> None:
    before = certificate.context
    (tmp_path / "chain.pem").write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        certificate.reload()
    assert certificate.context is before
    write_certificate(tmp_path)
    certificate.reload()
    assert certificate.context is not before
