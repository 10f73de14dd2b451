"""The yardstick: the same API, written by hand the way people who know FastAPI would.

    python -m benchmarks.yardstick --port 8081 --database-url ... --redis-url ...
    python -m benchmarks.yardstick --port 8081 --memory

FastAPI on uvicorn with uvloop, httptools and websockets-sansio, the fastest by measurement
of uvicorn's websocket implementations; asyncpg with a pool; redis.asyncio. A message costs
one INSERT and one PUBLISH. Each process subscribes once to every room that has members in
that process, all over one connection. With --memory nothing is stored or published.

Choices that measurements decided, in favour of the yardstick: a message is serialised once,
by orjson, and sent to the members one after the other, because asyncio.gather creates a task
for each send. In five clustered runs by turns, sending one by one was as fast when one member
talks to 100, and 1.3 times as fast when many talk; --gather shows the alternative. The price:
a member that comes early in the order waits less than the last, so the median latency varies
between runs, and one member that does not read holds up everybody.

The yardstick exists for comparison only: it has no limits, no leases and no catching up.
"""

import argparse
import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import redis.asyncio
import uvicorn
from fastapi import FastAPI, HTTPException, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

SCHEMA = """
CREATE TABLE IF NOT EXISTS rooms (id uuid PRIMARY KEY, name text NOT NULL);
CREATE TABLE IF NOT EXISTS members (
    id uuid PRIMARY KEY, room_id uuid NOT NULL, name text NOT NULL,
    joined timestamptz NOT NULL DEFAULT now());
CREATE INDEX IF NOT EXISTS members_of_room ON members (room_id);
CREATE TABLE IF NOT EXISTS messages (
    seq bigserial PRIMARY KEY, id uuid NOT NULL UNIQUE, room_id uuid NOT NULL,
    member_id uuid NOT NULL, member_name text NOT NULL, type text NOT NULL,
    message text NOT NULL, sent timestamptz NOT NULL);
CREATE INDEX IF NOT EXISTS messages_of_room ON messages (room_id, seq);
"""
INSERT = """
INSERT INTO messages (id, room_id, member_id, member_name, type, message, sent)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
JOIN = "WITH member AS (INSERT INTO members (id, room_id, name) VALUES ($3, $2, $4)) " + INSERT
LEAVE = "WITH member AS (DELETE FROM members WHERE id = $3) " + INSERT
HISTORY = """
SELECT id, room_id AS "roomId", member_id AS "memberId", member_name AS "memberName",
       type, message, sent
FROM messages WHERE room_id = $1 ORDER BY seq
"""
HISTORY_CHUNK = 500
"""Messages for each round trip to Postgres, and for each chunk of the response."""
COLOURS = ("Red", "Green", "Blue", "Amber", "Violet", "Ivory", "Teal", "Crimson")
NOUNS = ("Seat", "River", "Lamp", "Cloud", "Stone", "Garden", "Window", "Kettle")

Message = dict[str, Any]


class Hub:
    """A room's members in this process, those that join and those that have joined."""

    def __init__(self) -> None:
        self.members: dict[uuid.UUID, tuple[str, WebSocket]] = {}
        self.arriving: dict[uuid.UUID, tuple[str, WebSocket]] = {}


class Chat:
    """The rooms of this process and the fan-out to their members; subclasses store messages."""

    def __init__(self, *, gather: bool) -> None:
        self.hubs: dict[uuid.UUID, Hub] = {}
        self.fan_out = self._gather if gather else self._one_by_one

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def create_room(self, room: uuid.UUID, name: str) -> None:
        raise NotImplementedError

    async def room_name(self, room: uuid.UUID) -> str | None:
        raise NotImplementedError

    async def members(self, room: uuid.UUID) -> list[Message]:
        raise NotImplementedError

    def history(self, room: uuid.UUID) -> AsyncIterator[bytes]:
        raise NotImplementedError

    async def say(self, message: Message) -> None:
        """Store a message and deliver it to all members of its room."""
        raise NotImplementedError

    async def enter(self, room: uuid.UUID) -> Hub:
        """Return the room's hub, which is created if this process has none."""
        return self.hubs.setdefault(room, Hub())

    async def leave(self, room: uuid.UUID) -> bool:
        """Forget the room if it has no members here; return whether it was forgotten."""
        hub = self.hubs.get(room)
        if hub is None or hub.members or hub.arriving:
            return False
        del self.hubs[room]
        return True

    async def deliver(self, room: uuid.UUID, text: str, joined: uuid.UUID | None) -> None:
        """Send a message to the members here; `joined` is the member that it announces."""
        hub = self.hubs.get(room)
        if hub is None:
            return
        if joined is not None and (member := hub.arriving.pop(joined, None)):
            hub.members[joined] = member
        await self.fan_out([socket for _, socket in hub.members.values()], text)

    @staticmethod
    async def _one_by_one(sockets: list[WebSocket], text: str) -> None:
        for socket in sockets:
            # A member may have left meanwhile; its own task takes care of that.
            with suppress(RuntimeError, WebSocketDisconnect):
                await socket.send_text(text)

    @staticmethod
    async def _gather(sockets: list[WebSocket], text: str) -> None:
        await asyncio.gather(
            *(socket.send_text(text) for socket in sockets), return_exceptions=True
        )


class MemoryChat(Chat):
    """Stores and publishes nothing."""

    def __init__(self, *, gather: bool) -> None:
        super().__init__(gather=gather)
        self.names: dict[uuid.UUID, str] = {}

    async def create_room(self, room: uuid.UUID, name: str) -> None:
        self.names[room] = name

    async def room_name(self, room: uuid.UUID) -> str | None:
        return self.names.get(room)

    async def members(self, room: uuid.UUID) -> list[Message]:
        hub = self.hubs.get(room, Hub())
        return [{"id": id_, "name": name} for id_, (name, _) in hub.members.items()]

    async def history(self, room: uuid.UUID) -> AsyncIterator[bytes]:  # noqa: ARG002
        yield b"[]"

    async def say(self, message: Message) -> None:
        joined = message["memberId"] if message["type"] == "joined" else None
        await self.deliver(message["roomId"], orjson.dumps(message).decode(), joined)


class StoringChat(Chat):
    """Stores messages in Postgres, and delivers them through Redis."""

    def __init__(self, database_url: str, redis_url: str, *, gather: bool) -> None:
        super().__init__(gather=gather)
        self.database_url = database_url
        self.redis = redis.asyncio.from_url(redis_url)
        self.pubsub = self.redis.pubsub(ignore_subscribe_messages=True)

    async def start(self) -> None:
        self.pool = await asyncpg.create_pool(self.database_url, min_size=4, max_size=10)
        await self.pool.execute(SCHEMA)
        await self.pubsub.subscribe("nothing")  # listen() needs a subscription to begin with.
        self.reader = asyncio.create_task(self.read())

    async def stop(self) -> None:
        self.reader.cancel()
        await self.pubsub.aclose()  # type: ignore[no-untyped-call]
        await self.redis.aclose()
        await self.pool.close()

    async def read(self) -> None:
        """Deliver what the other processes, and this one, publish."""
        async for event in self.pubsub.listen():
            text = event["data"]
            # The room and who joined come before the JSON, which need not be parsed.
            room, joined, text = text[:16], text[16:32], text[32:]
            member = uuid.UUID(bytes=joined) if any(joined) else None
            await self.deliver(uuid.UUID(bytes=room), text.decode(), member)

    async def create_room(self, room: uuid.UUID, name: str) -> None:
        await self.pool.execute("INSERT INTO rooms (id, name) VALUES ($1, $2)", room, name)

    async def room_name(self, room: uuid.UUID) -> str | None:
        name: str | None = await self.pool.fetchval("SELECT name FROM rooms WHERE id = $1", room)
        return name

    async def members(self, room: uuid.UUID) -> list[Message]:
        rows = await self.pool.fetch(
            "SELECT id, name FROM members WHERE room_id = $1 ORDER BY joined", room
        )
        return [dict(row) for row in rows]

    async def history(self, room: uuid.UUID) -> AsyncIterator[bytes]:
        opening = b"["
        async with self.pool.acquire() as connection, connection.transaction():
            chunk: list[bytes] = []
            async for row in connection.cursor(HISTORY, room, prefetch=HISTORY_CHUNK):
                chunk.append(orjson.dumps({**row, "id": str(row["id"])}, default=str))
                if len(chunk) == HISTORY_CHUNK:
                    yield opening + b",".join(chunk)
                    opening, chunk = b",", []
            if chunk:
                yield opening + b",".join(chunk)
                opening = b","
        yield b"]" if opening == b"," else b"[]"

    async def say(self, message: Message) -> None:
        type_ = message["type"]
        statement = {"joined": JOIN, "left": LEAVE}.get(type_, INSERT)
        await self.pool.execute(statement, *message.values())
        room, member = message["roomId"], message["memberId"]
        joined = member.bytes if type_ == "joined" else bytes(16)
        await self.redis.publish(f"room:{room}", room.bytes + joined + orjson.dumps(message))

    async def enter(self, room: uuid.UUID) -> Hub:
        if room not in self.hubs:
            self.hubs[room] = Hub()
            await self.pubsub.subscribe(f"room:{room}")
        return self.hubs[room]

    async def leave(self, room: uuid.UUID) -> bool:
        if left := await super().leave(room):
            await self.pubsub.unsubscribe(f"room:{room}")
        return left


def make_app(chat: Chat) -> FastAPI:
    """Return the app that serves the API over `chat`, which it starts and stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await chat.start()
        yield
        await chat.stop()

    app = FastAPI(lifespan=lifespan)

    @app.post("/api/room")
    async def create_room() -> Message:
        room, name = uuid.uuid4(), f"{random.choice(COLOURS)} {random.choice(NOUNS)}"
        await chat.create_room(room, name)
        return {"roomId": str(room), "roomName": name}

    @app.get("/api/room/{room}")
    async def get_room(room: uuid.UUID) -> Message:
        name = await chat.room_name(room)
        if name is None:
            raise HTTPException(404)
        return {"roomId": room, "roomName": name, "members": await chat.members(room)}

    @app.get("/api/room/{room}/messages")
    async def get_messages(room: uuid.UUID) -> Response:
        if await chat.room_name(room) is None:
            raise HTTPException(404)
        return StreamingResponse(chat.history(room), media_type="application/json")

    @app.websocket("/api/serve/{room}")
    async def serve(websocket: WebSocket, room: uuid.UUID) -> None:
        if await chat.room_name(room) is None:
            await websocket.send_denial_response(Response(status_code=404))
            return
        await websocket.accept()
        member, name = uuid.uuid4(), f"{random.choice(COLOURS)} {random.choice(NOUNS)}"

        def message(type_: str, text: str) -> Message:
            return {
                "id": uuid.uuid4(),
                "roomId": room,
                "memberId": member,
                "memberName": name,
                "type": type_,
                "message": text,
                "sent": datetime.now(UTC),
            }

        hub = await chat.enter(room)
        hub.arriving[member] = name, websocket
        try:
            await chat.say(message("joined", f"{name} joined the room."))
            while True:
                await chat.say(message("chat", await websocket.receive_text()))
        except WebSocketDisconnect:
            pass
        finally:
            hub.members.pop(member, None)
            hub.arriving.pop(member, None)
            await chat.say(message("left", f"{name} left the room."))
            await chat.leave(room)

    return app


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.yardstick")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--database-url")
    parser.add_argument("--redis-url")
    parser.add_argument("--memory", action="store_true", help="store nothing")
    parser.add_argument("--gather", action="store_true", help="send to all members at once")
    parser.add_argument(
        "--ws", default="websockets-sansio", help="uvicorn's websocket implementation"
    )
    arguments = parser.parse_args()
    chat: Chat
    if arguments.memory:
        chat = MemoryChat(gather=arguments.gather)
    else:
        chat = StoringChat(arguments.database_url, arguments.redis_url, gather=arguments.gather)
    uvicorn.run(
        make_app(chat),
        port=arguments.port,
        ws=arguments.ws,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()
