"""Over TLS and HTTP/2 a websocket stays with hypercorn, and is served over plain ASGI."""

import json
import ssl
from functools import partial
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import trio
import trustme
from hypercorn.config import Config
from hypercorn.trio import serve
from trio_websocket import open_websocket_url
from wsproto.frame_protocol import FrameProtocol, Opcode

from sharechat.bootstrap import build
from sharechat.config import Settings
from sharechat.domain.ids import new_room_id
from sharechat.domain.messages import RoomInfo
from tests.harness.deadline import DEADLINE
from tests.harness.peer import text


async def test_a_websocket_works_over_tls(nursery: trio.Nursery, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    config = Config()
    config.bind = ["localhost:0"]
    config.errorlog = None
    config.certfile = config.keyfile = str(tmp_path / "server.pem")
    server = build(Settings(in_memory=True))
    repository, app = server.stores.repository, server.app
    room = RoomInfo(new_room_id(), "Secret Room")
    await repository.create_room(room, b"")
    with trio.fail_after(DEADLINE):
        (url,) = await nursery.start(
            partial(serve, app, config, shutdown_trigger=trio.sleep_forever)
        )
        port = url.rpartition(":")[2]
        address = f"wss://localhost:{port}/api/serve/{room.id}"
        async with open_websocket_url(address, ssl_context=context) as websocket:
            assert json.loads(await websocket.get_message())["type"] == "joined"
            await websocket.send_message("hello")
            assert json.loads(await websocket.get_message())["message"] == "hello"
    nursery.cancel_scope.cancel()


class Http2Talker:
    """A websocket client over one HTTP/2 stream (RFC 8441), without TLS."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._frames = FrameProtocol(client=True, extensions=[])

    async def open(self, path: str) -> None:
        self._http.initiate_connection()
        headers = {
            ":method": "CONNECT",
            ":protocol": "websocket",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "sec-websocket-version": "13",
        }
        self._http.send_headers(1, list(headers.items()))
        await self._stream.send_all(self._http.data_to_send())

    async def say(self, message: str) -> None:
        self._http.send_data(1, text(message))
        await self._stream.send_all(self._http.data_to_send())

    async def hear(self) -> str:
        while True:
            for frame in self._frames.received_frames():
                if frame.opcode is Opcode.TEXT:
                    assert isinstance(frame.payload, str)
                    return frame.payload
            for event in self._http.receive_data(await self._stream.receive_some()):
                if isinstance(event, h2.events.DataReceived):
                    assert event.data is not None
                    self._frames.receive_bytes(event.data)


async def test_a_websocket_works_over_http2_on_plain_hypercorn(nursery: trio.Nursery) -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    server = build(Settings(in_memory=True))
    room = RoomInfo(new_room_id(), "Imperfect Seat")
    await server.stores.repository.create_room(room, b"")
    with trio.fail_after(DEADLINE):
        (url,) = await nursery.start(
            partial(serve, server.app, config, shutdown_trigger=trio.sleep_forever)
        )
        async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as stream:
            talker = Http2Talker(stream)
            await talker.open(f"/api/serve/{room.id}")
            assert json.loads(await talker.hear())["type"] == "joined"
            await talker.say("hello")
            assert json.loads(await talker.hear())["message"] == "hello"
    nursery.cancel_scope.cancel()
