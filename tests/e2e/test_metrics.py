"""What Prometheus reads at `--metrics`, of one process and of several workers."""

import os
import re
import signal
from pathlib import Path

import pytest
import trio

from tests.harness.cluster import Cluster
from tests.harness.deadline import wait_until
from tests.harness.http import HANDSHAKE, fetch, make_room
from tests.harness.metrics import FLAG, metrics_url, scrape
from tests.harness.process import SharechatProcess, children
from tests.harness.talker import join


async def test_a_scrape_shows_what_members_and_requests_did() -> None:
    with SharechatProcess(*FLAG, "--max-members", "3") as server:
        room = make_room(server.url)
        async with trio.open_nursery() as nursery:
            first = await join(nursery, server.ws_url(room))
            second = await join(nursery, server.ws_url(room))
            await second.hear_type("joined")
            for _ in range(3):
                await first.say("hello")
            await second.hear_chats(3)
            await first.hear_chats(3)
            fetch(f"{server.url}/api/room/{room}")
            fetch(f"{server.url}/api/room/{room[:-1]}")
            fetch(f"{server.url}/{room}")
            third = await join(nursery, server.ws_url(room))
            await third.hear_type("joined")
            assert fetch(f"{server.url}/api/serve/{room}", headers=HANDSHAKE).status == 503
            now = scrape(server)
            assert now.total("sharechat_members") == 3
            assert now.total("sharechat_rooms") == 1
            await third.close()
            await second.drop()
            nursery.cancel_scope.cancel()
        wait_until(lambda: scrape(server).total("sharechat_members") == 0)
        wait_until(lambda: scrape(server).total("sharechat_event_loop_lag_seconds_count") > 0)
        then = scrape(server)

    assert then.total("sharechat_joins_total", {"resumed": "false"}) == 3
    assert then.total("sharechat_leaves_total") == 3
    assert then.total("sharechat_messages_stored_total") == 3
    assert then.total("sharechat_closes_total", {"code": "1000", "side": "client"}) == 1
    assert then.total("sharechat_closes_total", {"code": "1006", "side": "client"}) == 2
    assert then.total("sharechat_refusals_total", {"kind": "full"}) == 1
    assert then.total("sharechat_refusals_total", {"kind": "room-not-found"}) == 1
    requests = "sharechat_http_request_seconds_count"
    of_room = {"route": "GET /api/room/<room_id>"}
    assert then.total(requests, {**of_room, "status": "200"}) == 1
    assert then.total(requests, {**of_room, "status": "404"}) == 1
    assert then.total(requests, {"route": "none", "status": "404"}) == 1
    assert then.total("process_resident_memory_bytes") > 10_000_000
    # Nothing tells of one room.
    assert not any(room in value for sample in then.all for value in sample.labels.values())


def test_an_address_that_is_taken_is_refused_at_the_start() -> None:
    with SharechatProcess(*FLAG) as server:
        taken = re.sub(r"http://|/metrics", "", metrics_url(server))
        with pytest.raises(RuntimeError, match=f"cannot listen on {re.escape(taken)}"):
            SharechatProcess("--metrics", taken).start()


def test_workers_need_a_short_path_to_temporary_files(servers: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)  # The path of a Unix socket has up to 108 bytes.
    folder.mkdir()
    flags = *servers.flags, "--workers", "2", *FLAG
    server = SharechatProcess(*flags, env={"TMPDIR": str(folder)})
    with pytest.raises(RuntimeError, match="cannot collect metrics from workers: AF_UNIX path"):
        server.start()


def test_one_scrape_shows_all_workers_but_one_that_does_not_answer(servers: Cluster) -> None:
    server = servers.serve("--workers", "2", *FLAG)
    started = "process_start_time_seconds"

    def workers() -> set[str]:
        return scrape(server).values("worker")

    now = scrape(server)
    assert now.values("worker") == {"0", "1"}
    assert now.total("sharechat_workers") == 2
    assert now.total("sharechat_workers_missing") == 0
    wait_until(lambda: scrape(server).total("sharechat_bus_up") == 2)

    worker = children(server.pid)[0]
    os.kill(worker, signal.SIGSTOP)
    without = scrape(server)
    assert len(without.values("worker")) == 1
    assert without.total("sharechat_workers") == 2
    assert without.total("sharechat_workers_missing") == 1
    os.kill(worker, signal.SIGCONT)
    wait_until(lambda: len(workers()) == 2)

    # One that is started again is counted under its number.
    before = scrape(server).total(started)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: scrape(server).total(started) > before and len(workers()) == 2)
    assert server.stop() == 0
