"""A websocket's opening handshake (RFC 6455, section 4.2), answered by the real server."""

import email
import json
import os
import zlib
from http.client import HTTPMessage
from typing import NamedTuple

import pytest
import trio
from wsproto.frame_protocol import Opcode

from tests.harness.peer import COMPRESSED, FIN, Peer, frame, text
from tests.harness.process import SharechatProcess

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
EXTENSIONS = "Sec-WebSocket-Extensions"


class Answer(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes


async def answer(server: SharechatProcess, request: bytes) -> Answer:
    """Send a request; return the whole response, a refusal read to the connection's end."""
    peer = Peer(await trio.open_tcp_stream("127.0.0.1", server.port))
    await peer.send(request)
    head, body = await peer.response()
    first, _, rest = head.partition("\r\n")
    status = int(first.split()[1])
    if status != 101:
        while data := await peer.stream.receive_some():
            body += data
    peer.drop()
    return Answer(status, email.message_from_string(rest, HTTPMessage), body)


def request(room: str, *headers: str, without: str = "", version: str = "1.1") -> bytes:
    """Return a handshake with these headers, and without those that begin with `without`."""
    lines = [
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        KEY,
    ]
    kept = [line for line in lines if not (without and line.startswith(without))]
    whole = [f"GET /api/serve/{room} HTTP/{version}", *kept, *headers, "", ""]
    return "\r\n".join(whole).encode("latin-1")


def assert_problem(refused: Answer, status: int, slug: str) -> None:
    assert refused.status == status
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Content-Length"] == str(len(refused.body))
    problem = json.loads(refused.body)
    assert problem["status"] == status
    assert problem["type"] == f"tag:sharechat.dev,2026:{slug}"
    assert problem["detail"]


async def test_an_accepted_handshake_proves_that_its_key_was_read(
    server: SharechatProcess, room: str
) -> None:
    accepted = await answer(server, request(room))
    assert accepted.status == 101
    # The example of RFC 6455, section 1.3.
    assert accepted.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert accepted.headers["Upgrade"].lower() == "websocket"
    assert accepted.headers["Connection"].lower() == "upgrade"
    assert EXTENSIONS not in accepted.headers
    assert "Sec-WebSocket-Protocol" not in accepted.headers


@pytest.mark.parametrize("version", ["8", "14", "013", "13, 8", "x", "\xff"])
async def test_another_version_is_told_which_one_is_spoken(
    server: SharechatProcess, room: str, version: str
) -> None:
    headers = [f"Sec-WebSocket-Version: {version}"]
    refused = await answer(server, request(room, *headers, without="Sec-WebSocket-Version"))
    assert_problem(refused, 426, "wrong-version")
    assert refused.headers["Sec-WebSocket-Version"] == "13"
    assert refused.headers["Upgrade"] == "websocket"


@pytest.mark.parametrize(
    ("headers", "without", "version"),
    [
        ([], "Sec-WebSocket-Key", "1.1"),
        ([], "Sec-WebSocket-Version", "1.1"),
        ([], "", "1.0"),
        ([], "", "1.2"),
        (["Sec-WebSocket-Key: short"], "Sec-WebSocket-Key", "1.1"),
        (["Sec-WebSocket-Key: "], "Sec-WebSocket-Key", "1.1"),
        (["Sec-WebSocket-Key: \xff"], "Sec-WebSocket-Key", "1.1"),
        (["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ"], "Sec-WebSocket-Key", "1.1"),
        (["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXh4eA=="], "Sec-WebSocket-Key", "1.1"),
        ([KEY], "", "1.1"),  # twice
        (["Content-Length: 5"], "", "1.1"),
        (["Transfer-Encoding: chunked"], "", "1.1"),
    ],
)
async def test_a_malformed_handshake_is_refused_with_a_problem(
    server: SharechatProcess, room: str, headers: list[str], without: str, version: str
) -> None:
    refused = await answer(server, request(room, *headers, without=without, version=version))
    assert_problem(refused, 400, "bad-handshake")


async def test_whoever_takes_the_pages_address_for_the_websockets_is_told_where_that_is(
    server: SharechatProcess, room: str
) -> None:
    asked = request(room).replace(b"/api/serve/", b"/room/")
    refused = await answer(server, asked)
    assert refused.status == 400
    assert "/api/serve/" in json.loads(refused.body)["detail"]


async def test_a_client_that_does_not_wait_for_its_answer_is_refused(
    server: SharechatProcess, room: str
) -> None:
    refused = await answer(server, request(room) + text("hello"))
    assert_problem(refused, 400, "bad-handshake")


@pytest.mark.parametrize(
    ("headers", "without"),
    [
        (["Connection: keep-alive"], ""),
        (["Connection: keep-alive", "Connection: UPGRADE", "Connection: x"], "Connection"),
        (["Connection: ,, keep-alive ,Upgrade"], "Connection"),
        (["Upgrade: WebSocket"], "Upgrade"),
        (["Upgrade: h2c, websocket"], "Upgrade"),
        (["Upgrade: h2c"], ""),
        (["Content-Length: 0"], ""),
        (["X-Name: \xff", "Sec-WebSocket-Protocol: \xff, chat", f"{EXTENSIONS}: \xff"], ""),
    ],
)
async def test_a_handshake_in_an_unusual_form_is_accepted(
    server: SharechatProcess, room: str, headers: list[str], without: str
) -> None:
    accepted = await answer(server, request(room, *headers, without=without))
    assert accepted.status == 101
    assert EXTENSIONS not in accepted.headers


@pytest.mark.parametrize("without", ["Connection", "Upgrade"])
async def test_a_request_without_an_upgrade_is_no_handshake(
    server: SharechatProcess, room: str, without: str
) -> None:
    data = request(room, "Connection: close", without=without)
    assert_problem(await answer(server, data), 426, "not-a-websocket")


@pytest.mark.parametrize(
    ("offers", "agreed"),
    [
        (["permessage-deflate"], "permessage-deflate"),
        (
            ["permessage-deflate; client_max_window_bits=9; x, permessage-deflate"],
            "permessage-deflate",
        ),
        (
            ["x; y", 'permessage-deflate; client_max_window_bits="15"'],
            "permessage-deflate; client_max_window_bits=15",
        ),
        (["permessage-deflate; server_max_window_bits=x"], None),
        (["permessage-deflate; client_no_context_takeover; client_no_context_takeover"], None),
        (["permessage-deflate; client_max_window_bits="], None),
    ],
)
async def test_messages_are_inflated_by_the_offer_that_was_accepted(
    server: SharechatProcess, room: str, offers: list[str], agreed: str | None
) -> None:
    headers = [f"{EXTENSIONS}: {offer}" for offer in offers]
    peer = await Peer.open(server.ws_url(room), *headers)
    assert (EXTENSIONS.lower() in peer.answer.lower()) == (agreed is not None)
    if agreed is None:
        return
    assert f"\r\n{EXTENSIONS}: {agreed}\r\n".lower() in f"{peer.answer}\r\n".lower()
    deflate = zlib.compressobj(wbits=-15)
    message = os.urandom(2000).hex().encode()
    for _ in range(2):  # The second refers to the first.
        data = deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH)
        payload = data.removesuffix(b"\0\0\xff\xff")
        await peer.send(frame(Opcode.TEXT, payload, flags=FIN | COMPRESSED))
    heard = [json.loads(await peer.hear_text())["message"] for _ in range(3)]
    assert heard[1:] == [message.decode()] * 2
