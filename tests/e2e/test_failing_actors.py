"""If the Controller fails the process ends, instead of refusing everybody for good."""

import sys
from pathlib import Path

import trio

from tests.harness.http import make_room
from tests.harness.process import BIN, ServerProcess
from tests.harness.talker import join

_PROGRAM = """
from functools import partial
from pathlib import Path
import trio
from sharechat import bootstrap, cli
from sharechat.actors.controller import Controller

run = Controller.run

async def run_and_fail(self, *, task_status):
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(run, self))
        task_status.started()
        while not Path(__file__).with_name("fail").exists():
            await trio.sleep(0.05)
        raise RuntimeError("a bug in the controller")

Controller.run = run_and_fail
create_app = bootstrap.create_app

if __name__ == "__main__":
    cli.main()
"""


async def _end_of(server: ServerProcess, folder: Path, nursery: trio.Nursery) -> int:
    """Start `server` with a member, make its Controller fail, and return the exit code."""
    with server:
        await join(nursery, server.ws_url(make_room(server.url)))
        silent = await trio.open_tcp_stream("127.0.0.1", server.port)
        (folder / "fail").touch()
        code = await trio.to_thread.run_sync(server.wait)
        await silent.aclose()
    assert "a bug in the controller" in server.stderr + server.stdout
    return code


async def test_sharechat_serve_ends_with_a_failing_controller(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    (tmp_path / "program.py").write_text(_PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), "serve", "--port", "0", "--in-memory"]
    assert await _end_of(ServerProcess(command), tmp_path, nursery) == 1


async def test_an_asgi_server_ends_with_a_failing_controller(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    (tmp_path / "program.py").write_text(_PROGRAM)
    command = [str(BIN / "hypercorn"), "-k", "trio", "--bind", "127.0.0.1:0"]
    app = f"{tmp_path / 'program.py'}:create_app()"
    env = {"SHARECHAT_IN_MEMORY": "true"}
    server = ServerProcess([*command, app], env, prints_url_to="stderr")
    # The worker ends by a signal, but hypercorn's exit code is 0 all the same.
    await _end_of(server, tmp_path, nursery)
