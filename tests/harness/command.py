"""The client commands with pipes instead of a terminal."""

import subprocess
from typing import IO

import trio

from tests.harness.deadline import DEADLINE
from tests.harness.process import BIN, environment
from tests.harness.waiting import until


async def sharechat(
    *arguments: str, stdin: bytes | IO[bytes] = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end with this input: bytes, or a file."""
    with trio.fail_after(DEADLINE):
        return await trio.run_process(
            [str(BIN / "sharechat"), *arguments],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(),
        )


def open_sharechat(*arguments: str) -> subprocess.Popen[bytes]:
    """Start the command with pipes."""
    return subprocess.Popen(
        [str(BIN / "sharechat"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )


async def exit_code(process: subprocess.Popen[bytes]) -> int:
    await until(lambda: process.poll() is not None, within=DEADLINE)
    return process.returncode


def only_line(stderr: bytes) -> str:
    (line,) = stderr.decode().splitlines()
    return line
