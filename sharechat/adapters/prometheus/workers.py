"""The figures of several workers in one scrape, by way of their parent.

Each worker inherits a Unix socket that listens in a folder of the parent. Whoever connects gets
the worker's figures, and the parent does so at each scrape. A worker that is started again
inherits the same socket.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
import trio
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from sharechat.adapters.prometheus.server import END, serve_scrapes
from sharechat.adapters.prometheus.text import to_text

log = structlog.get_logger()

PATIENCE = 2
"""Seconds that the workers have to answer; Prometheus itself waits ten by default."""

_MAX_TEXT = 4 << 20
"""Bytes that are read from a worker at most; it has some forty thousand."""


class WorkerMetrics:
    """The listening sockets of the workers, and what the parent does with them."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.sockets = sockets
        """For each worker the socket that it is to inherit."""

    @classmethod
    @contextmanager
    def open(cls, count: int) -> Iterator["WorkerMetrics"]:
        """Make sockets for `count` workers in a folder that only this user can enter.

        Raises OSError if there is no folder for temporary files, or its path is too long.
        """
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="sharechat-")))
            sockets = []
            for number in range(count):
                sock = stack.enter_context(socket.socket(socket.AF_UNIX))
                sock.bind(os.fspath(folder / str(number)))
                sock.listen()
                sockets.append(sock)
            yield cls(sockets)

    async def serve(self, listener: socket.socket) -> None:
        """Answer `GET /metrics` on a listening socket, until cancelled."""
        await serve_scrapes(self.scrape, listener)

    async def scrape(self) -> bytes:
        """Return the figures of all workers that answer within PATIENCE seconds."""
        texts: dict[int, bytes] = {}

        async def ask(number: int) -> None:
            text = await _read(self.sockets[number].getsockname())
            if text is not None:
                texts[number] = text

        with trio.move_on_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for number in range(len(self.sockets)):
                    nursery.start_soon(ask, number)
        metrics = {number: _parse(texts[number]) for number in sorted(texts)}
        return to_text(metrics, expected=len(self.sockets))


async def _read(path: str) -> bytes | None:
    """Return the figures that come from a Unix socket, or None if they are not whole."""
    text = b""
    try:
        async with await trio.open_unix_socket(path) as stream:
            async for chunk in stream:
                text += chunk
                if len(text) > _MAX_TEXT:
                    return None
    except (OSError, trio.BrokenResourceError) as error:
        log.warning("a worker does not show its metrics", reason=str(error))
        return None
    return text if text.endswith(END) else None


def _parse(text: bytes) -> list[Metric]:
    return list(text_string_to_metric_families(text.decode()))
