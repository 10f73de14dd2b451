"""A history to which messages are added while it is being sent."""

import trio

from sharechat.domain.messages import to_json
from tests.harness.deadline import DEADLINE
from tests.harness.house import RemoteMember
from tests.harness.http import Response, fetch
from tests.harness.repositories import read_log
from tests.harness.repository import ScriptedRepository
from tests.web.test_long_history import serving


async def test_a_history_ends_with_what_was_its_last_message_when_it_was_asked_for() -> None:
    repository = ScriptedRepository()
    talker = RemoteMember(repository, await repository.make_room())
    await talker.joins()
    await talker.says(*map(str, range(1500)))
    log = await read_log(repository, talker.room_id)
    responses: list[Response] = []
    for _ in range(2):  # The first page, and the last message for the links.
        repository.at_next("read")
    second_page = repository.at_next("read", hold=True)

    async with serving(repository) as (host, port), trio.open_nursery() as nursery:

        async def get() -> None:
            url = f"http://{host}:{port}/api/room/{talker.room_id}/messages"
            responses.append(await trio.to_thread.run_sync(fetch, url))

        nursery.start_soon(get)
        with trio.fail_after(DEADLINE):
            await second_page.reached.wait()
        await talker.says("too late")
        second_page.release()
    (response,) = responses
    assert response.body == b"[" + b",".join(to_json(entry.message) for entry in log) + b"]"
