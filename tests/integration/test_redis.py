"""What only Redis can show: how its Queue bears a Redis that dies, freezes or forgets."""

import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import hiredis
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from sharechat.adapters.redis import RedisQueue
from sharechat.adapters.redis.protocol import ConnectionFailedError, pack
from sharechat.adapters.redis.send_buffer import SendBuffer
from sharechat.adapters.redis.subscriptions import Subscriptions
from sharechat.adapters.redis.url import parse_url
from sharechat.domain.errors import UnavailableError
from sharechat.domain.ids import RoomId, new_room_id
from sharechat.domain.messages import Entry
from tests.harness.redis import Proxy, RedisServer
from tests.integration.test_queue import Recorder, make_entry, marker, works

NOBODY = "redis://127.0.0.1:1"
"""Port 1 is never listened on where tests run."""

impatient = partial(RedisQueue, probe_interval=0.05, timeout=0.4)


@pytest.fixture(scope="module")
def _server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(_server: RedisServer) -> Iterator[RedisServer]:
    """A server that each test gets alive and well, whatever it does to it."""
    yield _server
    _server.thaw()
    _server.ask("CLIENT", "UNPAUSE")


@asynccontextmanager
async def running(queue: RedisQueue, *room_ids: RoomId) -> AsyncIterator[Recorder]:
    """Run `queue` for as long as the block lasts, once it works and hears the rooms."""
    recorder = Recorder()
    for room_id in room_ids:
        queue.subscribe(room_id)
    async with trio.open_nursery() as nursery:
        await nursery.start(queue.run, recorder)
        await works(queue)
        await recorder.has_missed(*room_ids)
        recorder.forget()
        yield recorder
        nursery.cancel_scope.cancel()


async def fails(queue: RedisQueue) -> str:
    """Wait until `check` fails, and return what it says."""
    with trio.fail_after(5):
        while True:
            try:
                queue.check()
            except UnavailableError as error:
                return str(error)
            # It only ever answers for this moment, so it has to be asked again.
            await trio.sleep(0.01)


async def says(queue: RedisQueue, text: str) -> str:
    """Wait until what `check` says contains `text`, and return it all."""
    with trio.fail_after(5):
        while True:
            reason = await fails(queue)
            if text in reason:
                return reason
            await trio.sleep(0.01)


async def reaches(publisher: RedisQueue, recorder: Recorder, room_id: RoomId) -> None:
    """Check that what is published is heard, once."""
    recorder.forget()
    entries = [make_entry(room_id)]
    publisher.publish(room_id, entries)
    await recorder.has_heard(room_id, entries)
    assert recorder.all_heard == [(room_id, entries)]


# Coming and going


async def test_after_a_restart_everything_was_missed_and_all_goes_on() -> None:
    room_ids = [new_room_id() for _ in range(50)]
    with RedisServer() as server:
        publisher, queue = impatient(server.url), impatient(server.url)
        async with running(publisher), running(queue, *room_ids) as recorder:
            await trio.to_thread.run_sync(server.kill)
            reason = await fails(queue)
            assert f"127.0.0.1:{server.port}" in reason
            publisher.publish(room_ids[0], [make_entry(room_ids[0])])
            await trio.to_thread.run_sync(server.restart)
            await recorder.has_missed(*room_ids)
            assert recorder.all_heard == []
            await works(publisher)
            await works(queue)
            for room_id in room_ids:
                await reaches(publisher, recorder, room_id)


async def test_rooms_wanted_while_redis_is_away_are_heard_once_it_is_back() -> None:
    kept_id, new_id, gone_id = new_room_id(), new_room_id(), new_room_id()
    with RedisServer() as server:
        publisher, queue = impatient(server.url), impatient(server.url)
        async with running(publisher), running(queue, kept_id, gone_id) as recorder:
            await trio.to_thread.run_sync(server.kill)
            await fails(queue)
            queue.subscribe(new_id)
            queue.unsubscribe(gone_id)
            await trio.to_thread.run_sync(server.restart)
            await recorder.has_missed(kept_id, new_id)
            assert not any(gone_id in missed for missed in recorder.all_missed)
            await works(publisher)
            publisher.publish(gone_id, marker(gone_id))
            await reaches(publisher, recorder, new_id)
            await reaches(publisher, recorder, kept_id)


async def test_it_starts_without_redis_and_says_what_is_wrong(nursery: trio.Nursery) -> None:
    queue = impatient(NOBODY)
    with pytest.raises(UnavailableError, match="not running"):
        queue.check()
    with trio.fail_after(1):
        await nursery.start(queue.run, Recorder())
    reason = await says(queue, "failed")
    assert (
        reason == "The Queue is unavailable: connecting to 127.0.0.1:1 failed: Connection refused."
    )


async def test_a_name_that_means_nothing_is_said(nursery: trio.Nursery) -> None:
    queue = impatient("redis://no-such-host.invalid", timeout=4)
    await nursery.start(queue.run, Recorder())
    assert "no-such-host.invalid:6379 failed: " in await says(queue, "failed")


async def test_a_server_that_is_none_of_redis_is_said(nursery: trio.Nursery) -> None:
    async def greet(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example ESMTP\r\n")
        await trio.sleep_forever()

    listeners = await nursery.start(partial(trio.serve_tcp, greet, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    queue = impatient(f"redis://127.0.0.1:{port}")
    await nursery.start(queue.run, Recorder())
    assert "not Redis" in await says(queue, "not Redis")


async def test_losing_and_regaining_are_logged_once_each() -> None:
    with RedisServer() as server, capture_logs() as logs:
        queue = impatient(server.url)
        async with running(queue):
            await trio.to_thread.run_sync(server.kill)
            await fails(queue)
            await says(queue, "Connection refused")
            # Real time, for several attempts to connect to fail one after the other.
            await trio.sleep(0.5)
            queue.publish_look(new_room_id())
            await trio.to_thread.run_sync(server.restart)
            await works(queue)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("queue unavailable", "warning"),
        ("queue available again", "info"),
    ]
    assert logs[1]["dropped"] == 1


async def test_connections_that_redis_closes_are_made_again(server: RedisServer) -> None:
    # So it does also with a subscriber whose output grows beyond its limit.
    room_id = new_room_id()
    publisher, queue = impatient(server.url), impatient(server.url)
    async with running(publisher), running(queue, room_id) as recorder:
        for kind in ("pubsub", "normal", "pubsub"):
            recorder.forget()
            server.ask("CLIENT", "KILL", "TYPE", kind)
            await recorder.has_missed(room_id)
            await works(publisher)
            await works(queue)
            await reaches(publisher, recorder, room_id)


# A Redis that is there and does nothing


async def test_a_frozen_redis_is_noticed_and_so_is_its_thaw(server: RedisServer) -> None:
    room_id = new_room_id()
    publisher, queue = impatient(server.url), impatient(server.url)
    async with running(publisher), running(queue, room_id) as recorder:
        server.freeze()
        with trio.fail_after(3):
            assert "the probe" in await fails(queue)
            # The kernel still accepts connections in its name.
            await says(queue, "no answer within 0.4 s")
        server.thaw()
        await recorder.has_missed(room_id)
        await works(queue)
        await works(publisher)
        await reaches(publisher, recorder, room_id)


async def test_writing_to_a_frozen_redis_neither_waits_nor_grows(server: RedisServer) -> None:
    # Patient enough with the probe for the sending to be what stalls.
    queue = RedisQueue(server.url, probe_interval=60, timeout=0.4, buffer_size=1_000_000)
    room_id = new_room_id()
    entries = [make_entry(room_id, text="x" * 10_000)] * 10
    async with running(queue):
        server.freeze()
        with trio.fail_after(5):
            while queue._health.working:
                for _ in range(100):
                    queue.publish(room_id, entries)
                assert queue._send_buffer.size <= 1_000_000
                await trio.sleep(0.01)
        assert "did not accept the data" in await fails(queue)
        server.thaw()
        await works(queue)


async def test_a_subscription_that_died_in_silence_is_noticed(
    server: RedisServer, nursery: trio.Nursery
) -> None:
    room_id, proxy = new_room_id(), Proxy()
    await nursery.start(proxy.run, server)
    publisher = impatient(server.url)
    queue = impatient(f"redis://127.0.0.1:{proxy.port}")
    async with running(publisher), running(queue, room_id) as recorder:
        # Connections stay open and take in commands, but nothing comes any more.
        proxy.swallows = True
        assert "did not send back the probe" in await fails(queue)
        proxy.swallows = False
        await recorder.has_missed(room_id)
        await works(queue)
        await reaches(publisher, recorder, room_id)


async def test_a_subscription_that_is_never_confirmed_is_noticed(nursery: trio.Nursery) -> None:
    async def agree(stream: trio.SocketStream) -> None:
        # Answers what is asked on connecting, and nothing after that.
        await stream.receive_some()
        await stream.send_all(b"+OK\r\n")
        await trio.sleep_forever()

    listeners = await nursery.start(partial(trio.serve_tcp, agree, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    queue = impatient(f"redis://127.0.0.1:{port}")
    await nursery.start(queue.run, Recorder())
    await says(queue, "did not confirm a subscription")


async def test_a_cut_connection_is_just_made_again(
    server: RedisServer, nursery: trio.Nursery
) -> None:
    room_id, proxy = new_room_id(), Proxy()
    await nursery.start(proxy.run, server)
    publisher = impatient(server.url)
    queue = impatient(f"redis://127.0.0.1:{proxy.port}")
    async with running(publisher), running(queue, room_id) as recorder:
        for _ in range(3):
            recorder.forget()
            proxy.drop()
            await recorder.has_missed(room_id)
            await reaches(publisher, recorder, room_id)
    assert proxy.connections == 2 * (1 + 3)


# Getting in


async def test_a_password_lets_in_and_a_wrong_one_is_said(nursery: trio.Nursery) -> None:
    with RedisServer(password="p@ss/word") as server:
        address = f"127.0.0.1:{server.port}"
        async with running(impatient(f"redis://:p%40ss%2Fword@{address}")):
            pass
        async with running(impatient(f"redis://default:p%40ss%2Fword@{address}/3")):
            pass
        wrong, none = impatient(f"redis://:swordfish@{address}"), impatient(f"redis://{address}")
        await nursery.start(wrong.run, Recorder())
        await nursery.start(none.run, Recorder())
        reason = await says(wrong, "WRONGPASS")
        assert address in reason
        assert "swordfish" not in reason
        await says(none, "NOAUTH")
        nursery.cancel_scope.cancel()


async def test_a_database_that_is_not_there_is_said(
    server: RedisServer, nursery: trio.Nursery
) -> None:
    queue = impatient(f"{server.url}/99")
    await nursery.start(queue.run, Recorder())
    await says(queue, "DB index is out of range")


async def test_databases_do_not_hear_each_other(server: RedisServer) -> None:
    room_id, marker_id = new_room_id(), new_room_id()
    publishers = [impatient(f"{server.url}/{number}") for number in (0, 1)]
    queue = impatient(f"{server.url}/1")
    async with running(queue, room_id, marker_id) as recorder:
        async with running(publishers[0]), running(publishers[1]):
            publishers[0].publish(room_id, marker(room_id))
            await trio.to_thread.run_sync(server.ask, "PING")
            await reaches(publishers[1], recorder, marker_id)


async def test_a_user_without_the_channels_is_refused_in_words(
    server: RedisServer, nursery: trio.Nursery
) -> None:
    server.ask("ACL", "SETUSER", "dumb", "on", ">secret", "+@all", "resetchannels")
    queue = impatient(f"redis://dumb:secret@127.0.0.1:{server.port}")
    await nursery.start(queue.run, Recorder())
    await says(queue, "NOPERM")
    server.ask("ACL", "DELUSER", "dumb")


async def test_a_user_who_may_not_name_itself_is_served(server: RedisServer) -> None:
    server.ask("ACL", "SETUSER", "shy", "on", ">secret", "+@pubsub", "-client", "allchannels")
    async with running(impatient(f"redis://shy:secret@127.0.0.1:{server.port}")):
        pass
    server.ask("ACL", "DELUSER", "shy")


async def test_a_unix_socket_serves_as_well(server: RedisServer) -> None:
    room_id = new_room_id()
    queue, publisher = impatient(f"unix://{server.socket_path}"), impatient(server.url)
    async with running(queue, room_id) as recorder, running(publisher):
        await reaches(publisher, recorder, room_id)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that only itself vouches for; its key is in `.key`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    request = f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*request.split(), *names, "-keyout", f"{path}.key", "-out", path],
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture
async def tls_port(certificate: Path, server: RedisServer, nursery: trio.Nursery) -> int:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, f"{certificate}.key")
    proxy = Proxy()
    await nursery.start(proxy.run, server, context)
    return proxy.port


@pytest.mark.parametrize("query", ["ssl_ca_certs={}", "ssl_cert_reqs=none"])
async def test_messages_travel_over_tls(
    server: RedisServer, certificate: Path, tls_port: int, query: str
) -> None:
    room_id = new_room_id()
    url = f"rediss://127.0.0.1:{tls_port}?{query.format(certificate)}"
    queue, publisher = impatient(url), impatient(url)
    async with running(queue, room_id) as recorder, running(publisher):
        await reaches(publisher, recorder, room_id)
        server.freeze()
        assert "the probe" in await fails(queue)
        server.thaw()
        await works(queue)
        await works(publisher)
        await reaches(publisher, recorder, room_id)


@pytest.mark.parametrize(
    ("query", "host", "reason"),
    [
        ("", "127.0.0.1", "self.signed certificate"),
        ("ssl_ca_certs={}", "localhost", "not valid for 'localhost'"),
        ("ssl_ca_certs=/no/such/file", "127.0.0.1", "No such file"),
    ],
)
async def test_a_server_that_cannot_prove_who_it_is_is_not_spoken_to(
    certificate: Path, tls_port: int, nursery: trio.Nursery, query: str, host: str, reason: str
) -> None:
    queue = impatient(f"rediss://{host}:{tls_port}?{query.format(certificate)}")
    await nursery.start(queue.run, Recorder())
    said = await says(queue, "ssl_" if "such" in query else "certificate")
    assert reason.replace(".", " ") in said.replace("-", " ").replace(".", " ")


# Leaving nothing behind


def sharechats(server: RedisServer) -> list[str]:
    return [line for line in server.ask("CLIENT", "LIST").splitlines() if "sharechat" in line]


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not true():  # noqa: ASYNC110 - what another process does sets no Event
            await trio.sleep(0.01)


async def test_cancelling_closes_both_connections(server: RedisServer) -> None:
    await until(lambda: not sharechats(server))
    queue = impatient(server.url)
    async with running(queue, new_room_id()):
        names = " ".join(sharechats(server))
        assert "name=sharechat-publisher" in names
        assert "name=sharechat-subscriber" in names
    # The server takes a moment to see that they are closed.
    await until(lambda: not sharechats(server))
    with pytest.raises(UnavailableError, match="not running"):
        queue.check()


async def test_cancelling_waits_for_no_frozen_server(server: RedisServer) -> None:
    queue, room_id = RedisQueue(server.url), new_room_id()
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with running(queue, room_id):
        server.freeze()
        # More than the kernel takes, so that a send is under way.
        for _ in range(50):
            queue.publish(room_id, [make_entry(room_id, text="x" * 100_000)])
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
    assert trio.current_time() - started < 0.5
    assert trio.lowlevel.current_statistics().tasks_living == tasks


@pytest.mark.parametrize("checkpoint", range(0, 40, 3))
async def test_cancelled_at_any_moment_it_closes_what_is_open(
    server: RedisServer, checkpoint: int
) -> None:
    # What would be left open is collected, and warns; warnings are errors.
    queue = impatient(server.url)
    queue.subscribe(new_room_id())
    async with trio.open_nursery() as nursery:
        await nursery.start(queue.run, Recorder())
        for _ in range(checkpoint):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    await until(lambda: not sharechats(server))


# What is published by something else


async def test_a_payload_that_cannot_be_understood_counts_as_missed(server: RedisServer) -> None:
    room_id = new_room_id()
    publisher, queue = impatient(server.url), impatient(server.url)
    channel = f"sharechat:0:room:{room_id}"
    with capture_logs() as logs:
        async with running(publisher), running(queue, room_id) as recorder:
            server.ask("PUBLISH", channel, "what is this, then?")
            await recorder.has_missed(room_id)
            recorder.forget()
            server.ask("PUBLISH", channel, "?")
            await recorder.has_missed(room_id)
            assert recorder.all_heard == []
            await reaches(publisher, recorder, room_id)
    assert [(entry["log_level"], entry["room_ids"]) for entry in logs] == [
        ("warning", [room_id]),
        ("warning", [room_id]),
    ]


async def test_what_a_process_publishes_does_not_come_back_to_it(server: RedisServer) -> None:
    room_id, marker_id = new_room_id(), new_room_id()
    queue, other = impatient(server.url), impatient(server.url)
    async with running(queue, room_id, marker_id) as recorder, running(other, room_id) as others:
        queue.publish(room_id, [make_entry(room_id)])
        queue.publish(room_id, marker(room_id))
        await others.has_heard(room_id, marker(room_id))
        await reaches(other, recorder, marker_id)


# The URL


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "start with"),
        ("localhost:6379", "start with"),
        ("http://localhost", "start with"),
        ("redis://localhost:secret", "not valid"),
        ("redis://:secret/more@localhost", "not valid"),
        ("redis://localhost/secret", "number"),
        ("redis://localhost/-1", "number"),
        ("redis://localhost?db=secret", "not valid"),
        ("redis://localhost?db=-1", "number"),
        ("redis://localhost?ssl_cert_reqs=none", "requires rediss"),
        ("rediss://localhost?ssl_cert_reqs=perhaps", "required"),
        ("rediss://localhost?ssl_min_version=7", "version"),
        ("rediss://localhost?ssl_validate_ocsp=true", "not supported"),
        ("unix://", "path"),
    ],
)
def test_a_url_that_is_none_is_refused_without_its_secrets(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        RedisQueue(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "address", "database"),
    [
        ("redis://", "localhost:6379", 0),
        ("redis://:secret@redis.example:1234/5", "redis.example:1234", 5),
        ("rediss://user:secret@[::1]?db=2&socket_timeout=5", "[::1]:6379", 2),
        ("unix:///run/redis.sock?db=1", "/run/redis.sock", 1),
    ],
)
def test_a_url_says_where_to_go(url: str, address: str, database: int) -> None:
    endpoint = parse_url(url)
    assert str(endpoint) == address
    assert endpoint.database == database
    assert "secret" not in repr(endpoint)


# The decisions, without any I/O


def words(commands: bytes) -> list[list[bytes]]:
    reader = hiredis.Reader()
    reader.feed(commands)
    found = []
    while (command := reader.gets()) is not False:
        found.append(command)
    return found


def subscriptions() -> tuple[Subscriptions, RoomId, bytes]:
    room_id = new_room_id()
    return Subscriptions(b"room:", b"probe"), room_id, b"room:" + room_id.encode()


def test_many_changes_become_one_command_of_each_kind() -> None:
    some, room_id, channel = subscriptions()
    some.add(room_id)
    some.restart()
    assert words(some.next_commands()) == [[b"SUBSCRIBE", b"probe", channel]]
    assert some.next_commands() == b""
    others = [new_room_id() for _ in range(10)]
    for other in others:
        some.add(other)
    some.discard(room_id)
    some.discard(others.pop())
    [subscribe, unsubscribe] = words(some.next_commands())
    assert subscribe == [b"SUBSCRIBE", *(b"room:" + other.encode() for other in others)]
    assert unsubscribe[0] == b"UNSUBSCRIBE"
    assert channel in unsubscribe


def test_a_great_many_changes_become_several_commands() -> None:
    some, _, _ = subscriptions()
    for _ in range(2_500):
        some.add(new_room_id())
    sizes = []
    while commands := some.next_commands():
        sizes += [len(command) - 1 for command in words(commands)]
    assert sizes == [1_000, 1_000, 500]


def test_every_confirmation_counts_as_missed_while_the_room_is_wanted() -> None:
    some, room_id, channel = subscriptions()
    some.add(room_id)
    replies = [[b"subscribe", channel, 1], [b"subscribe", b"probe", 2]]
    received = some.receive(replies)
    assert received.missed == {room_id}
    assert received.probe_subscribed
    some.discard(room_id)
    assert some.receive([[b"subscribe", channel, 1]]).missed == set()


def test_a_refused_subscription_is_an_error() -> None:
    some, _, _ = subscriptions()
    with pytest.raises(ConnectionFailedError, match="NOPERM"):
        some.receive([hiredis.ReplyError("NOPERM no channels for you")])


def test_only_what_others_published_is_heard() -> None:
    one, room_id, channel = subscriptions()
    two = Subscriptions(b"room:", b"probe")
    one.add(room_id)
    two.add(room_id)
    entries: list[Entry] = [make_entry(room_id)]
    [[publish, to, payload]] = words(one.publish_command(room_id, entries))
    assert (publish, to) == (b"PUBLISH", channel)
    message = [b"message", channel, payload]
    assert one.receive([message]).heard == []
    assert two.receive([message]).heard == [(room_id, entries)]


def test_a_send_buffer_takes_what_fits_while_it_is_open() -> None:
    buffer = SendBuffer(10)
    assert not buffer.put(b"1")
    buffer.open()
    assert buffer.put(b"12345678")
    assert not buffer.put(b"123")
    assert buffer.put(b"urgent", urgent=True)
    assert buffer.take_dropped() == 2
    assert buffer.take_dropped() == 0
    assert buffer.take() == b"12345678urgent"
    assert buffer.take() == b""
    buffer.put(b"lost")
    buffer.close()
    assert buffer.take() == b""


def test_commands_are_packed_as_redis_reads_them() -> None:
    assert pack((b"PUBLISH", b"c", b"\r\n")) == b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$2\r\n\r\n\r\n"
