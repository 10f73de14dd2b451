"""The file that keeps the rooms: restarts, a second process, backups, and a disk that is full."""

import json
import resource
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from tests.harness.deadline import DEADLINE, eventually, wait_until
from tests.harness.http import fetch, history, make_room, texts
from tests.harness.metrics import FLAG, scrape
from tests.harness.process import BIN, ServerProcess, SharechatProcess, environment
from tests.harness.talker import join

UNLIMITED = ("--message-rate", "0", "--room-rate", "0", "--log-level", "warning")


def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "sharechat"), *arguments],
        env=environment(**(env or {})),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def names_of_files(folder: Path, pattern: str = "*") -> list[str]:
    return [file.name for file in folder.iterdir() if file.match(pattern)]


def limit_files(server: ServerProcess, size: int) -> None:
    """Make the writes of a server fail beyond this many bytes of any file."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def test_rooms_and_history_outlive_a_restart(tmp_path: Path, nursery: trio.Nursery) -> None:
    """By default, in the user's data folder."""
    command = [str(BIN / "sharechat"), "serve", "--port", "0"]
    env = {"XDG_DATA_HOME": str(tmp_path)}
    with ServerProcess(command, env) as server:
        path = tmp_path / "sharechat" / "sharechat.db"
        wait_until(lambda: f"The rooms are kept in {path}\n" in server.stdout)
        created = fetch(f"{server.url}/api/room", "POST")
        room = created.json["roomId"]
        talker = await join(nursery, server.ws_url(room))
        await talker.say("hello")
        assert await talker.hear_chats(1) == ["hello"]
        assert await trio.to_thread.run_sync(server.stop) == 0
        assert "[error" not in server.stderr
    with ServerProcess(command, env) as server:
        log = history(server.url, room)
        assert [message["type"] for message in log] == ["joined", "chat", "left"]
        talker = await join(nursery, server.ws_url(room))
        await talker.say("again")
        assert await talker.hear_chats(1) == ["again"]
        key = {"Authorization": f"Bearer {created.headers['Sharechat-Room-Key']}"}
        deleted = fetch(f"{server.url}/api/room/{room}", "DELETE", key)
        assert deleted.status == 204
        assert await trio.to_thread.run_sync(server.stop) == 0


async def test_a_second_process_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rooms.db"
    with SharechatProcess("--data", str(path)) as server:
        room = make_room(server.url)
        done = await trio.to_thread.run_sync(run, "serve", "--port", "0", "--data", str(path))
        assert done.returncode == 2
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        assert done.stderr.startswith(f"sharechat: Another process keeps its rooms in {path}")
        assert fetch(f"{server.url}/api/room/{room}").status == 200


@pytest.mark.parametrize("where", ["file/rooms.db", "text"])
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "text").write_text("This is no database. " * 100)
    done = run("serve", "--port", "0", "--data", str(tmp_path / where))
    assert done.returncode == 2
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


async def test_a_full_disk_fails_messages_and_rooms_until_it_has_passed(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    with SharechatProcess("--data", str(tmp_path / "rooms.db"), *UNLIMITED) as server:
        room = make_room(server.url)
        talker = await join(nursery, server.ws_url(room))
        await talker.say("before")
        assert await talker.hear_chats(1) == ["before"]
        limit_files(server, 1000)
        await talker.say("during")
        with trio.fail_after(DEADLINE):
            while (message := await talker.wait_and_hear())["type"] != "failed":
                pass
        assert "cannot be reached" in message["message"]
        answer = await trio.to_thread.run_sync(fetch, f"{server.url}/api/room", "POST")
        assert answer.status == 503
        assert fetch(f"{server.url}/api/healthz").status == 503
        # What is there can be read.
        assert texts(history(server.url, room)) == ["before"]
        limit_files(server, resource.RLIM_INFINITY)
        await eventually(lambda: fetch(f"{server.url}/api/healthz").status == 200)
        make_room(server.url)
        await talker.say("after")
        assert await talker.hear_chats(1) == ["after"]
        assert texts(history(server.url, room)) == ["before", "after"]
        assert await trio.to_thread.run_sync(server.stop) == 0
        assert "Traceback" not in server.stderr


async def test_past_the_bound_of_the_file_it_is_full(tmp_path: Path, nursery: trio.Nursery) -> None:
    path = tmp_path / "rooms.db"
    flags = ("--max-data", "1MiB", *UNLIMITED)
    with SharechatProcess("--data", str(path), *flags) as server:
        room = make_room(server.url)
        talker = await join(nursery, server.ws_url(room))
        failed: list[str] = []
        for number in range(100):
            await talker.say(f"{number} " + "x" * 16_000)
            message = await talker.hear()
            while message["type"] == "joined":
                message = await talker.hear()
            if message["type"] == "failed":
                failed.append(message["message"])
        assert 20 < len(failed) < 80
        assert "full" in failed[0]
        # What was too little for such a message has room for others.
        for _ in range(100):
            await talker.say("x" * 300)
        while "full" not in (await talker.hear_type("failed"))["message"]:
            pass
        answers = [fetch(f"{server.url}/api/room", "POST") for _ in range(10)]
        assert answers[-1].status == 503
        assert "full" in answers[-1].json["type"]
        # It can be joined and left all the same.
        other = await join(nursery, server.ws_url(room))
        assert (await other.hear())["type"] == "joined"
        await other.close()
        assert await trio.to_thread.run_sync(server.stop) == 0
    assert path.stat().st_size < 1.05 * (1 << 20)


async def test_a_file_that_is_larger_than_it_may_be_can_be_read_and_not_joined(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    path = str(tmp_path / "rooms.db")
    with SharechatProcess("--data", path, *UNLIMITED) as server:
        room = make_room(server.url)
        talker = await join(nursery, server.ws_url(room))
        for _ in range(100):
            await talker.say("x" * 16_000)
            await talker.hear_chats(1)
        assert await trio.to_thread.run_sync(server.stop) == 0
    with SharechatProcess("--data", path, "--max-data", "1MiB", *FLAG) as server:
        talker = await join(nursery, server.ws_url(room))
        assert await talker.close_code() == 4450
        assert len(texts(history(server.url, room))) == 100
        now = scrape(server)
        assert now.total("sharechat_refusals_total", {"kind": "full"}) == 1
        assert now.total("sharechat_space_limit_bytes") == 1 << 20
        assert now.total("sharechat_space_used_bytes") > 100 * 16_000
        assert await trio.to_thread.run_sync(server.stop) == 0
    assert "the server is full" in server.stderr


async def test_a_backup_is_made_while_the_server_runs(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    path, copy = tmp_path / "rooms.db", tmp_path / "copy.db"
    with SharechatProcess("--data", str(path), *UNLIMITED) as server:
        room = make_room(server.url)
        talker = await join(nursery, server.ws_url(room))
        said = [str(number) for number in range(50)]
        for text in said:
            await talker.say(text)
        assert await talker.hear_chats(50) == said
        done = await trio.to_thread.run_sync(run, "backup", str(copy), "--data", str(path))
        assert (done.returncode, done.stderr) == (0, "")
        await talker.say("later")
        assert await talker.hear_chats(1) == ["later"]
        # It is refused a second time, and by environment variable as well.
        again = await trio.to_thread.run_sync(
            lambda: run("backup", str(copy), env={"SHARECHAT_DATA": str(path)})
        )
        assert again.returncode == 2
        assert (again.stderr.count("\n"), "already" in again.stderr) == (1, True)
    assert not names_of_files(tmp_path, "*.part*")
    with SharechatProcess("--data", str(copy), *UNLIMITED) as server:
        assert texts(history(server.url, room)) == said
        # Whoever was in the room when the backup was made has left.
        wait_until(lambda: history(server.url, room)[-1]["type"] == "left")
        assert server.stop() == 0


def test_a_backup_does_not_take_a_file_for_the_rooms_of_a_database(tmp_path: Path) -> None:
    done = run("backup", str(tmp_path / "copy.db"), env={"DATABASE_URL": "postgres://localhost/x"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "DATABASE_URL" in done.stderr
    assert names_of_files(tmp_path) == []


@pytest.mark.parametrize("source", ["missing.db", "text"])
def test_a_backup_of_what_is_no_database_of_ours_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "text").write_text(json.dumps(["This is no database."] * 100))
    done = run("backup", str(tmp_path / "copy.db"), "--data", str(tmp_path / source))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert names_of_files(tmp_path) == ["text"]
