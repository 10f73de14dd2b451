"""TLS without a proxy: `--certfile` and `--keyfile`."""

import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives import serialization
from wsproto.events import CloseConnection
from wsproto.frame_protocol import Opcode

from tests.harness.cluster import Cluster
from tests.harness.command import sharechat
from tests.harness.deadline import DEADLINE, eventually
from tests.harness.http import fetch, history, make_room, members, texts
from tests.harness.peer import Peer, frame, text
from tests.harness.process import SharechatProcess
from tests.harness.sockets import shrink_receive_buffer
from tests.harness.talker import join
from tests.harness.tls import client_context, open_tls, write_certificate


@pytest.fixture(name="flags", scope="module")
def _flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(name="server", scope="module")
def _server(flags: list[str]) -> Iterator[SharechatProcess]:
    with SharechatProcess(*flags, "--message-rate", "0") as server:
        yield server


def serial_number(port: int) -> str:
    """Return the serial number of the certificate that a server on this port has."""
    with (
        socket.create_connection(("127.0.0.1", port), DEADLINE) as sock,
        client_context().wrap_socket(sock, server_hostname="127.0.0.1") as stream,
    ):
        certificate = stream.getpeercert()
        assert certificate
        return str(certificate["serialNumber"])


async def test_rooms_and_members_over_tls(server: SharechatProcess, nursery: trio.Nursery) -> None:
    assert server.url.startswith("https://")
    assert f"sharechat: open {server.url}\n" in server.stdout
    assert f"websocat {server.ws_url('')}" in server.stdout
    room = make_room(server.url)
    talkers = [await join(nursery, server.ws_url(room)) for _ in range(2)]
    for talker in talkers:
        assert (await talker.hear())["type"] == "joined"
    said = [str(number) * 10_000 for number in range(5)]
    for message in said:
        await talkers[0].say(message)
    assert [await talker.hear_chats(5) for talker in talkers] == [said, said]
    assert texts(history(server.url, room)) == said
    await talkers[0].close()
    await eventually(lambda: len(members(server.url, room)) == 1)
    await talkers[1].drop()
    await eventually(lambda: not members(server.url, room))


async def test_a_closing_handshake_ends_with_that_of_tls(server: SharechatProcess) -> None:
    peer = await Peer.open(server.ws_url(make_room(server.url)))
    await peer.send(frame(Opcode.CLOSE, b"\x03\xe8bye"))
    close = await peer.hear_close()
    assert (close.code, close.reason) == (1000, "bye")
    assert await peer.ends()  # A stream without its close_notify would break instead.


async def test_texts_in_the_record_of_the_last_read_are_heard(server: SharechatProcess) -> None:
    """A record holds 16 KiB; the kernel does not tell of what was read of it in part."""
    peer = await Peer.open(server.ws_url(make_room(server.url)))
    await peer.send(b"".join(text(f"{number} {'x' * 1000}") for number in range(16)))
    await peer.hear_text()
    for number in range(16):
        assert f'"{number} xxx' in await peer.hear_text()
    peer.drop()


async def test_a_slow_member_is_told_that_too_much_waits_and_nobody_else_waits(
    server: SharechatProcess, nursery: trio.Nursery
) -> None:
    room = make_room(server.url)
    slow = await Peer.open(server.ws_url(room))
    shrink_receive_buffer(slow.stream)
    talker = await join(nursery, server.ws_url(room))
    await talker.hear()
    for _ in range(100):
        for _ in range(20):
            await talker.say("x" * 16_000)
            await talker.hear_chat()
        # It reads a little, so it sees whole frames, and in the end why it is closed.
        if isinstance(event := await slow.hear(), CloseConnection):
            break
    assert isinstance(event, CloseConnection)
    assert event.code == 1013
    assert await slow.ends()
    await talker.close()


def connect_with(version: ssl.TLSVersion, port: int) -> str | None:
    """Do a handshake with this version of TLS only; return what was agreed on."""
    context = client_context()
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")  # Otherwise the client itself would refuse.
    with (
        socket.create_connection(("127.0.0.1", port), DEADLINE) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as stream,
    ):
        return stream.version()


def test_tls_1_2_will_do(server: SharechatProcess) -> None:
    assert connect_with(ssl.TLSVersion.TLSv1_2, server.port) == "TLSv1.2"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_older_versions_are_refused(server: SharechatProcess) -> None:
    with pytest.raises(ssl.SSLError, match="version"):
        connect_with(ssl.TLSVersion.TLSv1_1, server.port)


async def test_a_client_that_prefers_http_2_is_told_to_speak_http_1_1(
    server: SharechatProcess,
) -> None:
    stream = await open_tls(server.port, client_context(["h2", "http/1.1"]))
    assert stream.tls.selected_alpn_protocol() == "http/1.1"
    await stream.aclose()


async def test_a_request_in_the_clear_is_told_to_use_tls(server: SharechatProcess) -> None:
    answer = fetch(f"http://127.0.0.1:{server.port}/api/healthz")
    assert answer.status == 400
    assert "https" in answer.json["detail"]


async def test_what_is_neither_tls_nor_http_is_cut_off(server: SharechatProcess) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    with trio.fail_after(DEADLINE), suppress(trio.BrokenResourceError):
        await stream.send_all(b"\0" * 100)
        while await stream.receive_some():
            pass
    await stream.aclose()
    assert fetch(f"{server.url}/api/healthz").status == 200


def test_a_page_that_came_in_the_clear_is_not_the_server_s_own(server: SharechatProcess) -> None:
    host = server.url.removeprefix("https://")
    assert fetch(f"{server.url}/api/room", "POST", {"Origin": f"https://{host}"}).status == 200
    assert fetch(f"{server.url}/api/room", "POST", {"Origin": f"http://{host}"}).status == 403


def test_links_begin_with_https(server: SharechatProcess) -> None:
    room = make_room(server.url)
    assert fetch(f"{server.url}/room/{room}/qr.svg").body == (
        fetch(f"{server.url}/room/{room}/qr.svg?scheme=https").body
    )


async def test_a_hangup_reads_the_certificate_again_and_ends_no_connection(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    flags = write_certificate(tmp_path)
    with SharechatProcess(*flags) as server:
        talker = await join(nursery, server.ws_url(make_room(server.url)))
        await talker.hear()
        before = serial_number(server.port)

        (tmp_path / "key.pem").write_text("not a key")
        server.signal(signal.SIGHUP)
        await eventually(lambda: "the certificate stays what it was" in server.stderr)
        assert serial_number(server.port) == before

        write_certificate(tmp_path)
        server.signal(signal.SIGHUP)
        await eventually(lambda: serial_number(server.port) != before)
        await talker.say("still here")
        assert await talker.hear_chats(1) == ["still here"]
        server.signal(signal.SIGTERM)
        assert await talker.close_code() == 1012
        assert await trio.to_thread.run_sync(server.wait) == 0


async def test_the_benchmark_loads_it_and_finds_nothing_wrong(server: SharechatProcess) -> None:
    size = ["--members", "10", "--seconds", "0.2", "--processes", "1"]
    done = await sharechat("bench", server.url, "--workload", "one-to-many", *size)
    assert done.returncode == 0, done
    assert b"deliveries/s" in done.stdout


async def test_a_hangup_reaches_every_worker(servers: Cluster, tmp_path: Path) -> None:
    server = servers.serve("--workers", "3", *write_certificate(tmp_path))
    before = serial_number(server.port)
    write_certificate(tmp_path)
    server.signal(signal.SIGHUP)
    # The kernel chooses the worker of each connection.
    await eventually(lambda: before not in [serial_number(server.port) for _ in range(20)])
    server.signal(signal.SIGTERM)
    assert await trio.to_thread.run_sync(server.wait) == 0


@pytest.mark.parametrize("broken", ["missing", "not a key", "key of another", "password"])
def test_files_that_cannot_be_used_are_refused_in_one_line(tmp_path: Path, broken: str) -> None:
    flags = write_certificate(tmp_path)
    key = tmp_path / "key.pem"
    match broken:
        case "missing":
            key.unlink()
        case "not a key":
            key.write_text("not a key")
        case "key of another":
            (tmp_path / "other").mkdir()
            write_certificate(tmp_path / "other")
            key.write_bytes((tmp_path / "other" / "key.pem").read_bytes())
        case "password":
            key.write_bytes(encrypted(key.read_bytes()))
    with pytest.raises(RuntimeError) as refused:
        SharechatProcess(*flags).start()
    (line,) = str(refused.value).splitlines()[1:]
    assert line.startswith("sharechat: cannot use ")
    assert str(tmp_path) in line


def encrypted(key: bytes) -> bytes:
    """Return a private key that needs a password."""
    loaded = serialization.load_pem_private_key(key, None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
