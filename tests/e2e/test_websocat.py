"""The real websocat, as people use it."""

import json
import subprocess
from contextlib import ExitStack

from tests.harness.deadline import DEADLINE, wait_until
from tests.harness.http import Json, fetch, history, texts
from tests.harness.process import BIN, SharechatProcess, environment


def websocat(url: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [str(BIN / "websocat"), "-B", "65536", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def test_a_pipe_loses_nothing(server: SharechatProcess, room: str) -> None:
    said = ["a", "b", *(f"line {number}" for number in range(30)), "żółw"]
    done = subprocess.run(
        [str(BIN / "websocat"), server.ws_url(room)],
        input="".join(f"{line}\n" for line in said),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
        env=environment(),
    )
    assert done.stderr == ""
    wait_until(lambda: history(server.url, room)[-1:] and members(server, room) == 0)
    # It sends each line with its end.
    assert texts(history(server.url, room)) == [f"{line}\n" for line in said]


def members(server: SharechatProcess, room: str) -> int:
    return len(fetch(f"{server.url}/api/room/{room}").json["members"])


def test_several_hear_one_order(server: SharechatProcess, room: str) -> None:
    with ExitStack() as stack:
        chatters = [stack.enter_context(websocat(server.ws_url(room))) for _ in range(4)]
        wait_until(lambda: members(server, room) == 4)
        for number in range(10):
            for index, chatter in enumerate(chatters):
                assert chatter.stdin
                chatter.stdin.write(f"{index}: {number}\n")
                chatter.stdin.flush()
        wait_until(lambda: len(texts(history(server.url, room))) == 40)
        everything = history(server.url, room)
        heard = []
        for chatter in chatters:
            assert chatter.stdout
            lines: list[Json] = []
            while len(texts(lines)) < 40:
                lines.append(json.loads(chatter.stdout.readline()))
            heard.append(lines)
            chatter.kill()
        joined = [message["type"] for message in everything].index("chat")
        assert joined == 4
        # Each hears the room from its own coming on, and all hear the same.
        assert {len(lines) for lines in heard} == {41, 42, 43, 44}
        for lines in heard:
            assert lines == everything[-len(lines) :]
            assert lines[0]["type"] == "joined"
