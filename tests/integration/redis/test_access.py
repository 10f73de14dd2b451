"""How a RedisQueue gets access to Redis: passwords, databases, users, Unix sockets."""

import trio

from sharechat.domain.ids import new_room_id
from tests.harness.queues import Recorder, marker, new_room_ids
from tests.harness.redis import RedisServer
from tests.harness.redis_queues import (
    assert_hears_once,
    impatient_queue,
    running,
    until_failing,
)


async def test_the_right_password_is_accepted_and_a_wrong_one_reported(
    nursery: trio.Nursery,
) -> None:
    with RedisServer(password="p@ss/word") as server:
        address = f"127.0.0.1:{server.port}"
        async with running(impatient_queue(f"redis://:p%40ss%2Fword@{address}")):
            pass
        async with running(impatient_queue(f"redis://default:p%40ss%2Fword@{address}/3")):
            pass
        wrong = impatient_queue(f"redis://:swordfish@{address}")
        missing = impatient_queue(f"redis://{address}")
        await nursery.start(wrong.run, Recorder())
        await nursery.start(missing.run, Recorder())
        reason = await until_failing(wrong, "WRONGPASS")
        assert address in reason
        assert "swordfish" not in reason
        await until_failing(missing, "NOAUTH")
        nursery.cancel_scope.cancel()


async def test_check_tells_if_the_database_does_not_exist(
    server: RedisServer, nursery: trio.Nursery
) -> None:
    queue = impatient_queue(f"{server.url}/99")
    await nursery.start(queue.run, Recorder())
    await until_failing(queue, "DB index is out of range")


async def test_queues_on_different_databases_do_not_hear_each_other(server: RedisServer) -> None:
    room_id, marker_id = new_room_ids(2)
    zero, one, publisher_zero, publisher_one = [
        impatient_queue(f"{server.url}/{database}") for database in (0, 1, 0, 1)
    ]
    async with (
        running(zero, room_id) as heard_in_zero,
        running(one, room_id, marker_id) as heard_in_one,
        running(publisher_zero),
        running(publisher_one),
    ):
        publisher_zero.publish(room_id, marker(room_id))
        await heard_in_zero.has_heard(room_id, marker(room_id))
        # Redis has handed the first publication to everybody who hears it before this one.
        publisher_one.publish(marker_id, marker(marker_id))
        await heard_in_one.has_heard(marker_id, marker(marker_id))
        assert heard_in_one.all_heard == [(marker_id, marker(marker_id))]


async def test_check_tells_if_the_user_may_not_use_the_channels(
    server: RedisServer, nursery: trio.Nursery
) -> None:
    server.ask("ACL", "SETUSER", "mute", "on", ">secret", "+@all", "resetchannels")
    queue = impatient_queue(f"redis://mute:secret@127.0.0.1:{server.port}")
    await nursery.start(queue.run, Recorder())
    await until_failing(queue, "NOPERM")
    server.ask("ACL", "DELUSER", "mute")


async def test_a_user_who_may_not_set_the_connections_name_is_served(server: RedisServer) -> None:
    server.ask("ACL", "SETUSER", "plain", "on", ">secret", "+@pubsub", "-client", "allchannels")
    async with running(impatient_queue(f"redis://plain:secret@127.0.0.1:{server.port}")):
        pass
    server.ask("ACL", "DELUSER", "plain")


async def test_messages_travel_over_a_unix_socket(server: RedisServer) -> None:
    room_id = new_room_id()
    queue = impatient_queue(f"unix://{server.socket_path}")
    publisher = impatient_queue(server.url)
    async with running(queue, room_id) as recorder, running(publisher):
        await assert_hears_once(publisher, recorder, room_id)
