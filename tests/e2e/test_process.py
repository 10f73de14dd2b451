"""The command itself: its flags, its environment, its errors and its output."""

import re
import shutil
import signal
import subprocess
from collections.abc import Mapping

import pytest
import trio

from sharechat.config import options
from tests.harness.deadline import DEADLINE, eventually, wait_until
from tests.harness.http import fetch, history, make_room, texts
from tests.harness.process import (
    BIN,
    ImpatientProcess,
    ServerProcess,
    SharechatProcess,
    environment,
)
from tests.harness.talker import join


def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "sharechat"), *arguments],
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def assert_refused(*flags: str, env: Mapping[str, str] | None = None, naming: str) -> None:
    """Assert that it does not start, and prints one line that names what is wrong."""
    done = run("serve", *flags, env=env)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("sharechat: ")
    assert naming in done.stderr


@pytest.mark.parametrize(
    "host",
    [
        "no.such.host.invalid",
        "192.0.2.1",  # reserved for documentation, so no machine has it
        "x" * 64,  # longer than a label of a name may be
    ],
)
def test_a_host_that_it_cannot_listen_on_is_refused(host: str) -> None:
    assert_refused("--port", "0", "--host", host, naming=host)


def test_an_invalid_flag_is_refused() -> None:
    assert_refused("--port", "99999", naming="--port")


def test_an_invalid_variable_is_refused_naming_its_flag() -> None:
    assert_refused(env={"SHARECHAT_ROOM_TTL": "never"}, naming="--room-ttl")


def test_help_lists_every_option_with_its_variable() -> None:
    shown = run("serve", "--help")
    assert shown.returncode == 0
    words = " ".join(shown.stdout.split())
    for option in options():
        assert option.opts[0] in words
        assert f"env var: {option.envvar}" in words
    assert "serve" in run("--help").stdout
    assert re.search(r"\d+\.\d+", run("--version").stdout)


def test_the_bare_command_shows_its_help() -> None:
    shown = run()
    assert shown.returncode == 0
    assert shown.stdout == run("--help").stdout
    assert "migrate" in shown.stdout


def test_migrate_shows_its_own_flags_only() -> None:
    shown = run("migrate", "--help").stdout
    assert "--database-url" in shown
    assert "REDIS_URL" not in shown
    assert "--port" not in shown


def test_a_port_in_use_is_refused(server: SharechatProcess) -> None:
    assert_refused("--port", str(server.port), naming=f"127.0.0.1:{server.port}")
    assert fetch(f"{server.url}/api/healthz").status == 200


def test_environment_variables_set_options_and_flags_override_them() -> None:
    env = {
        "SHARECHAT_ALLOWED_ORIGIN": "https://one.example, https://two.example https://three.example",
        "SHARECHAT_LOG_JSON": "1",
        "SHARECHAT_PORT": "1",
    }
    with SharechatProcess("--log-level", "info", env=env) as server:
        for origin in ("https://one.example", "https://two.example", "https://three.example"):
            answer = fetch(f"{server.url}/api/room", "POST", {"Origin": origin})
            assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert server.stop() == 0
        assert '"event":"room created"' in server.stderr.replace(": ", ":")


def test_the_command_line_that_it_prints_to_try_it_works() -> None:
    with SharechatProcess() as server:
        wait_until(lambda: server.stdout.count("\n") == 3)
        address, try_it, kept = server.stdout.splitlines()
        assert address == f"sharechat: open {server.url}"
        assert "in memory" in kept
        assert b"<h1" in fetch(server.url).body
        command = try_it.removeprefix("Try it: ")
        assert command != try_it
        bash = shutil.which("bash")
        assert bash
        done = subprocess.run(
            [bash, "-c", command],
            env=environment(),
            input="hello\n",
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        assert done.stderr == ""
        wait_until(lambda: "room created" in server.stderr)
        match = re.search(r"room=([0-9a-f-]{36})", server.stderr)
        assert match
        wait_until(lambda: len(history(server.url, match[1])) == 3)
        assert texts(history(server.url, match[1])) == ["hello\n"]
        assert server.stop() == 0


def test_without_the_page_it_asks_nobody_to_open_its_address() -> None:
    with SharechatProcess(env={"SHARECHAT_NO_PAGE": "1"}) as server:
        assert server.stdout.startswith(f"sharechat listens on {server.url}\n")
        assert fetch(server.url).status == 404
        make_room(server.url)
        assert server.stop() == 0


async def test_empty_rooms_are_deleted_after_their_ttl(nursery: trio.Nursery) -> None:
    """Takes a few seconds of real time: twice the TTL, and until the server looks."""
    with ImpatientProcess("--room-ttl", "1s") as server:
        empty, used = make_room(server.url), make_room(server.url)
        talker = await join(nursery, server.ws_url(used))
        await talker.hear()
        await eventually(lambda: fetch(f"{server.url}/api/room/{empty}").status == 404)
        await talker.say("still here")
        assert await talker.hear_chats(1) == ["still here"]
        await talker.close()
        await eventually(lambda: fetch(f"{server.url}/api/room/{used}").status == 404)
        assert server.stop() == 0


async def test_plain_hypercorn_serves_the_same_application(nursery: trio.Nursery) -> None:
    command = [str(BIN / "hypercorn"), "-k", "trio", "--bind", "127.0.0.1:0"]
    app = "sharechat.bootstrap:create_app()"
    env = {"SHARECHAT_LOG_JSON": "true", "SHARECHAT_IN_MEMORY": "true"}
    with ServerProcess([*command, app], env, prints_url_to="stderr") as server:
        room = make_room(server.url)
        wait_until(lambda: '"event": "room created"' in server.stderr)
        talkers = [await join(nursery, server.ws_url(room)) for _ in range(2)]
        for talker in talkers:
            assert (await talker.hear())["type"] == "joined"
        await talkers[0].say("hello")
        assert [await talker.hear_chats(1) for talker in talkers] == [["hello"]] * 2
        assert texts(history(server.url, room)) == ["hello"]
        for talker in talkers:
            await talker.close()
        # Hypercorn passes SIGTERM on to its workers. Its exit code does not matter here.
        server.signal(signal.SIGTERM)
        await trio.to_thread.run_sync(server.wait)
        assert "Traceback" not in server.stderr
