"""Writing on the screen of `sharechat join`: editing, commands, what is not stored."""

import json
from contextlib import suppress

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from sharechat import client
from tests.harness.deadline import eventually
from tests.harness.http import history, texts
from tests.harness.process import SharechatProcess
from tests.harness.terminal import open_room, open_terminal


async def test_incoming_messages_leave_the_input_alone(address: str) -> None:
    async with client.join(address) as other, open_room(address, rows=10) as terminal:
        terminal.type("half a sent\x1b[D\x1b[D")
        await terminal.shows("> half a sent")
        await terminal.until(lambda: terminal.cursor[0] == len("> half a se"))
        cursor = terminal.cursor
        for number in range(30):
            await other.say(f"interruption {number}")
        await terminal.shows("interruption 29")
        assert terminal.input_row == "> half a sent"
        # While it draws, the cursor is elsewhere.
        await terminal.until(lambda: terminal.cursor == cursor)
        terminal.type("\x05ence\r")
        await terminal.shows("  half a sentence")


async def test_what_was_written_can_be_had_back_and_edited(address: str) -> None:
    async with open_room(address) as terminal:
        for text in ("first", "second"):
            terminal.enter(text)
            await terminal.shows(f"  {text}")
        terminal.type("draft\x1b[A\x1b[A")
        await terminal.until(lambda: terminal.input_row == "> first")
        terminal.type(" again\x17\x01the ")
        await terminal.until(lambda: terminal.input_row == "> the first")
        terminal.type("\x1b[B\x1b[B")
        await terminal.until(lambda: terminal.input_row == "> draft")


async def test_a_pasted_text_of_several_lines_is_one_message(
    unlimited: SharechatProcess, chat_room: str, address: str
) -> None:
    async with open_room(address) as terminal:
        terminal.type("\x1b[200~one\rtwo\rthree\x1b[201~")
        await terminal.until(lambda: terminal.input_row.strip() == "three")
        terminal.type("\r")
        await eventually(lambda: texts(history(unlimited.url, chat_room)) == ["one\ntwo\nthree"])


async def test_the_commands_answer(unlimited: SharechatProcess, address: str) -> None:
    async with open_room(address) as terminal, client.join(address) as other:
        assert other.me is not None
        other_name = other.me.name
        await terminal.shows("2 here: ")
        terminal.enter("/link")
        await terminal.until(lambda: address in terminal.rows)
        terminal.enter("/who")
        await terminal.until(
            lambda: any(r.startswith("2 here: ") and other_name in r for r in terminal.rows[1:])
        )
        terminal.enter("/help")
        await terminal.shows("/who lists who is here")
        terminal.enter("/dance")
        await terminal.shows("There is no /dance.")
        terminal.enter("//slash")
        await terminal.shows("  /slash")


async def test_something_too_large_is_marked_and_the_room_goes_on(address: str) -> None:
    async with open_room(address) as terminal:
        terminal.type(f"\x1b[200~{'x' * 20_000}\x1b[201~\r")
        await terminal.shows("Not stored: ")
        terminal.enter("something short")
        await terminal.shows("  something short")


async def test_what_could_not_be_stored_is_marked_and_can_be_repeated() -> None:
    said: list[dict[str, str]] = []

    async def serve(request: WebSocketRequest) -> None:
        """Refuse the first message, and store the second."""
        websocket = await request.accept(subprotocol="sharechat.v1")
        member = {"memberId": NO_ID, "memberName": "Teal Heron"}
        room = {"roomId": NO_ID, "roomName": "Formal Hill"}
        about = {"roomId": NO_ID, **member, "sent": "2026-11-23T19:08:08Z"}
        hello = {"id": NO_ID, "type": "joined", "message": "Teal Heron joined the room.", **about}
        await websocket.send_message(json.dumps({"type": "welcome", **room, **member}))
        await websocket.send_message(json.dumps(hello))
        with suppress(ConnectionClosed):
            while True:
                frame = json.loads(await websocket.get_message())
                said.append(frame)
                type_ = "chat" if len(said) > 1 else "failed"
                text = frame["message"] if len(said) > 1 else "The rooms cannot be reached."
                answer = {"id": frame["id"], "type": type_, "message": text, **about}
                await websocket.send_message(json.dumps(answer))

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, serve, "127.0.0.1", 0, None)
        address = f"http://127.0.0.1:{server.port}/room/{NO_ID}"
        async with open_terminal(["join", address]) as terminal:
            await terminal.shows("Teal Heron (you)")
            terminal.enter("hello")
            await terminal.shows(" ! Teal Heron  hello")
            await terminal.shows("Not stored: The rooms cannot be reached. /retry says it again.")
            terminal.enter("/retry")
            await terminal.shows("   Teal Heron  hello")
            assert "Not stored" not in terminal.text
        nursery.cancel_scope.cancel()
    assert len(said) == 2
    assert said[0] == said[1]


NO_ID = "00000000-0000-4000-8000-000000000000"
