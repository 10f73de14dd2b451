"""A new version is rolled out over two servers behind nginx, while people talk."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from sharechat import client
from sharechat.domain.ids import MessageId
from tests.harness.cluster import Cluster
from tests.harness.deadline import DEADLINE
from tests.harness.http import fetch, history, make_room
from tests.harness.nginx import Nginx
from tests.harness.page_server import PageServer

ROOMS, MEMBERS, TALKERS = 6, 10, 2
"""How many rooms, and members and talkers in each."""

FLAGS = ("--max-per-address", "1000", "--drain-delay", "1s")


class Someone:
    """A member who hears everything, and perhaps talks until told that it is enough."""

    def __init__(self, number: int, address: str) -> None:
        self.number = number
        self.said: list[str] = []
        self.heard: list[MessageId] = []
        self._address = address
        self._more = trio.Event()

    async def run(
        self, enough: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with client.join(self._address) as joined, trio.open_nursery() as nursery:
            await joined.connected()
            task_status.started()
            if self.number < TALKERS:
                nursery.start_soon(self._talk, joined, enough)
            async for message in joined:
                self.heard.append(message.id)
                self._more.set()
                self._more = trio.Event()

    async def _talk(self, joined: client.JoinedRoom, enough: trio.Event) -> None:
        while not enough.is_set():
            text = f"{self.number}: {len(self.said)}"
            await joined.say(text)
            self.said.append(text)
            await trio.sleep(0.2)

    async def ids_until(self, last: MessageId) -> list[MessageId]:
        """Wait for a message; return the ids of what was heard up to it."""
        while last not in self.heard:
            await self._more.wait()
        return self.heard[: self.heard.index(last) + 1]


async def ask_all_the_time(url: str, room: str, enough: trio.Event) -> None:
    while not enough.is_set():
        for method, path in (
            ("GET", f"/api/room/{room}"),
            ("POST", "/api/room"),
            ("GET", f"/api/room/{room}/messages?limit=5"),
        ):
            response = await trio.to_thread.run_sync(fetch, url + path, method)
            assert response.status == 200, response
        await trio.sleep(0.05)


def roll_out(servers: tuple[PageServer, PageServer]) -> None:
    for server in servers:
        server.stop()
        server.start()


@pytest.mark.time_limit(180)
@pytest.mark.usefixtures("many_files")
async def test_nobody_hears_a_hole_and_no_request_is_refused(
    servers: Cluster, tmp_path: Path
) -> None:
    twins = PageServer(*servers.flags, *FLAGS), PageServer(*servers.flags, *FLAGS)
    try:
        for server in twins:
            server.start()
        with Nginx(tmp_path, [server.port for server in twins]) as nginx:
            await talk_during(partial(roll_out, twins), nginx.url)
            assert all(status < 400 for status in nginx.statuses()), nginx.statuses()
    finally:
        for server in twins:
            server.kill()


async def talk_during(event: Callable[[], None], url: str) -> None:
    rooms = [make_room(url) for _ in range(ROOMS)]
    people = {
        room: [Someone(number, f"{url}/room/{room}") for number in range(MEMBERS)] for room in rooms
    }
    enough = trio.Event()
    async with trio.open_nursery() as being_here:
        for members in people.values():
            async with trio.open_nursery() as joining:
                for someone in members:
                    joining.start_soon(being_here.start, someone.run, enough)
        async with trio.open_nursery() as asking:
            asking.start_soon(ask_all_the_time, url, rooms[0], enough)
            await trio.to_thread.run_sync(event)
            enough.set()
        with trio.fail_after(3 * DEADLINE):
            for room, members in people.items():
                async with client.join(f"{url}/room/{room}") as last:
                    await last.say("this is the end")
                    log = await trio.to_thread.run_sync(history, url, room)
                ids = [message["id"] for message in log]
                for someone in members:
                    heard = await someone.ids_until(ids[-1])
                    assert heard == ids[ids.index(heard[0]) :]
                    mine = [m["message"] for m in log if m["message"] in someone.said]
                    assert mine == someone.said
        being_here.cancel_scope.cancel()
