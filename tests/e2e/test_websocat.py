"""The websocat command, used as people use it."""

import json
import subprocess
from contextlib import ExitStack

from tests.harness.deadline import DEADLINE, wait_until
from tests.harness.http import Json, history, members, texts
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


def test_lines_piped_into_websocat_are_all_stored(server: SharechatProcess, room: str) -> None:
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
    wait_until(lambda: history(server.url, room) and not members(server.url, room))
    # Websocat sends each line with its newline.
    assert texts(history(server.url, room)) == [f"{line}\n" for line in said]


def test_several_websocats_hear_the_same_messages_in_the_same_order(
    server: SharechatProcess, room: str
) -> None:
    with ExitStack() as stack:
        chatters = [stack.enter_context(websocat(server.ws_url(room))) for _ in range(4)]
        wait_until(lambda: len(members(server.url, room)) == 4)
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
        assert [message["type"] for message in everything].index("chat") == 4
        # Each hears the room from its own `joined` on.
        assert {len(lines) for lines in heard} == {41, 42, 43, 44}
        for lines in heard:
            assert lines == everything[-len(lines) :]
            assert lines[0]["type"] == "joined"
