"""The installed `sharechat` as a process, and clients that speak to it as anybody would."""

import contextlib
import http.client
import json
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    wrap_client_stream,
)

BIN = Path(sys.executable).parent
DEADLINE = 20.0
"""Seconds that anything here may take; generous, since the machine may be busy."""

_LISTENS = re.compile(r"http://\S+:(\d+)")
Json = dict[str, Any]

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
"""The headers that open a websocket: for `fetch`, where the answer will be no."""


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without its settings for sharechat, and with `more`."""
    ours = ("SHARECHAT_", "DATABASE_URL", "REDIS_URL")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**clean, "PATH": f"{BIN}:{os.environ['PATH']}", **more}


class Served:
    """A command that listens on 127.0.0.1, from its first word that it does to its end.

    As a context manager it is started, and killed at the end if it still runs. What it
    writes is read all the time, so that it never waits for us.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        greets_on: str = "stdout",
    ) -> None:
        self.port = 0
        self.exit_code: int | None = None
        self._command = command
        self._env = env or {}
        self._greets_on = greets_on
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ws_url(self, room: str) -> str:
        return f"ws://127.0.0.1:{self.port}/api/serve/{room}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def stdout(self) -> str:
        return "".join(self._lines["stdout"])

    @property
    def stderr(self) -> str:
        return "".join(self._lines["stderr"])

    @property
    def memory(self) -> int:
        """Its resident memory, in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def start(self) -> None:
        """Return once it says where it listens. Raises RuntimeError, with its log, if it ends."""
        self._process = process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**self._env),
        )
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            reader = threading.Thread(target=self._read, args=(pipe, self._lines[name]))
            reader.start()
            self._readers.append(reader)
        wait_until(lambda: self._greeting() is not None or process.poll() is not None)
        greeting = self._greeting()
        if greeting is None:
            self.kill()
            raise RuntimeError(f"it did not start:\n{self.stderr}")
        self.port = int(greeting[1])

    def _greeting(self) -> re.Match[str] | None:
        lines = list(self._lines[self._greets_on])
        return next(filter(None, map(_LISTENS.search, lines)), None)

    @staticmethod
    def _read(pipe: Any, lines: list[str]) -> None:
        with pipe:
            lines.extend(iter(pipe.readline, ""))

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, within: float = DEADLINE) -> int:
        """Return its exit code once it has ended. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        self.exit_code = self._process.wait(within)
        for reader in self._readers:
            reader.join(within)
        return self.exit_code

    def stop(self, within: float = DEADLINE) -> int:
        """Ask it to end, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self.wait(within)

    def kill(self) -> None:
        """End it at once. Harmless if it has ended."""
        assert self._process is not None
        self._process.kill()
        self.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


class SharechatProcess(Served):
    """`sharechat serve` with these flags, on a free port."""

    def __init__(self, *flags: str, env: Mapping[str, str] | None = None) -> None:
        super().__init__([str(BIN / "sharechat"), "serve", "--port", "0", *flags], env)


def wait_until(holds: Callable[[], object], within: float = DEADLINE) -> None:
    """Look again and again, blocking, until something holds that nothing tells us of."""
    give_up = time.monotonic() + within
    while not holds():
        if time.monotonic() > give_up:
            raise TimeoutError("it never held")
        time.sleep(0.02)


async def eventually(holds: Callable[[], object], within: float = DEADLINE) -> None:
    """Do the same in a thread."""
    await trio.to_thread.run_sync(wait_until, holds, within)


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def fetch(url: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answer:
    """Make one HTTP request, blocking."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=DEADLINE)
    with contextlib.closing(connection):
        connection.request(method, target, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def make_room(base: str) -> str:
    """Make a room, blocking; return its id."""
    room_id: str = fetch(f"{base}/api/room", "POST").json["roomId"]
    return room_id


def history(base: str, room: str, query: str = "") -> list[Json]:
    messages: list[Json] = fetch(f"{base}/api/room/{room}/messages{query}").json
    return messages


def texts(messages: Sequence[Json]) -> list[str]:
    """Return what was said, without who came and went."""
    return [message["message"] for message in messages if message["type"] == "chat"]


RESET = struct.pack("ii", 1, 0)
"""The SO_LINGER with which closing is an abort: the other side gets a reset."""


class Talker:
    """A member, over trio-websocket; everything it does has a deadline."""

    def __init__(self, stream: trio.SocketStream, websocket: WebSocketConnection) -> None:
        self._stream = stream
        self.websocket = websocket

    async def hear(self) -> Json:
        """Return the next message. Raises ConnectionClosed."""
        with trio.fail_after(DEADLINE):
            message: Json = json.loads(await self.websocket.get_message())
        return message

    async def hear_chat(self) -> Json:
        """Return the next message that somebody wrote."""
        while (message := await self.hear())["type"] != "chat":
            pass
        return message

    async def hear_chats(self, count: int) -> list[str]:
        """Return the texts of the next so many messages that somebody wrote."""
        return [(await self.hear_chat())["message"] for _ in range(count)]

    async def say(self, message: str | bytes) -> None:
        with trio.fail_after(DEADLINE):
            await self.websocket.send_message(message)

    async def close(self) -> None:
        """Close with a closing handshake."""
        with trio.fail_after(DEADLINE):
            await self.websocket.aclose()

    async def closed(self) -> int:
        """Hear everything up to the end; return the close code, 1006 if there was none."""
        try:
            while True:
                await self.hear()
        except ConnectionClosed as error:
            return 1006 if error.reason is None else error.reason.code

    async def drop(self) -> None:
        """Be gone at once, without a word."""
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await self._stream.aclose()


async def join(nursery: trio.Nursery, url: str, headers: Mapping[str, str] | None = None) -> Talker:
    """Join a room, for as long as the nursery lasts. Raises trio_websocket.ConnectionRejected."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    resource = f"{parts.path}?{parts.query}" if parts.query else parts.path
    with trio.fail_after(DEADLINE):
        stream = await trio.open_tcp_stream(parts.hostname, parts.port)
        start = partial(_hold, stream, parts.netloc, resource, headers or {})
        websocket: WebSocketConnection = await nursery.start(start)
    return Talker(stream, websocket)


async def _hold(
    stream: trio.SocketStream,
    host: str,
    resource: str,
    headers: Mapping[str, str],
    task_status: trio.TaskStatus[WebSocketConnection],
) -> None:
    """Keep a websocket until cancelled; a refusal is raised alone, not in a group."""
    more = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        async with trio.open_nursery() as nursery:
            websocket = await wrap_client_stream(
                nursery, stream, host, resource, extra_headers=more
            )
            task_status.started(websocket)
            await trio.sleep_forever()
    except BaseExceptionGroup as group:
        refusal = group.subgroup(ConnectionRejected)
        raise (group if refusal is None else refusal.exceptions[0]) from None
    finally:
        stream.socket.close()
