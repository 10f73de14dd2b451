"""Standard input and output on trio, without a thread and without changing their modes.

Non-blocking mode belongs to the open file, which the shell and other programs may share. So a
descriptor is waited for, and then asked for no more than it has.
"""

import os
import select
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

MAX_LINE = 64 * 1024
"""Bytes that a line may have; what is longer is handed on in several."""

_READ = 16 * 1024
_MAX_WRITE = select.PIPE_BUF


async def read_lines(fd: int) -> AsyncIterator[str]:
    """Yield the lines of a descriptor, until its end; what is not UTF-8 is replaced."""
    rest = b""
    while data := await _read(fd):
        *lines, rest = (rest + data).split(b"\n")
        while len(rest) > MAX_LINE:
            lines.append(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        for line in lines:
            yield _decode(line)
    if rest:
        yield _decode(rest)


async def write(fd: int, text: str) -> None:
    """Write all of `text`. Raises OSError, which is BrokenPipeError if nobody reads it."""
    rest = memoryview(text.encode(errors="backslashreplace"))
    while rest:
        await _ready(fd, trio.lowlevel.wait_writable)
        try:
            rest = rest[os.write(fd, rest[:_MAX_WRITE]) :]
        except BlockingIOError:  # Another program has made the file non-blocking.
            continue


async def _read(fd: int) -> bytes:
    while True:
        await _ready(fd, trio.lowlevel.wait_readable)
        try:
            return os.read(fd, _READ)
        except BlockingIOError:
            continue
        except OSError:  # A terminal that is gone, for example.
            return b""


async def _ready(fd: int, wait: Callable[[int], Awaitable[None]]) -> None:
    try:
        await wait(fd)
    except PermissionError:  # A regular file, which is always ready.
        await trio.lowlevel.checkpoint()


def _decode(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="replace")
