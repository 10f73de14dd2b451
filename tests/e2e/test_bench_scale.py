"""The large workloads of `sharechat bench`, with a few members, on real servers."""

import json
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from benchmarks import scale
from sharechat.bench import fleet
from sharechat.bench.results import Result
from sharechat.bench.scale import Comeback, Soak
from sharechat.bench.target import Target
from sharechat.bench.workloads import Parameters
from tests.harness.command import sharechat
from tests.harness.ports import free_port
from tests.harness.process import SharechatProcess

PERCENTILES = {"p50", "p99", "p99.9", "max"}
PARAMETERS = Parameters(seconds=0.5, rate=100)


async def bench(server: SharechatProcess, workload: str, *flags: str) -> dict[str, Any]:
    """Run one workload by the command; return its figures."""
    done = await sharechat("bench", server.url, "--workload", workload, "--json", *flags)
    assert done.returncode == 0, done.stdout
    (row,) = json.loads(done.stdout)
    assert row["server"]["wrong"] == []
    figures: dict[str, Any] = row["server"]["figures"]
    return figures


async def test_a_soak_finds_the_load_and_shows_latencies_and_memory(
    unlimited: SharechatProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests may take the processor between the two measurements.
    monkeypatch.setattr("sharechat.bench.scale._LOAD", 0.05)
    result = await run(Soak(members=20), unlimited, replace(PARAMETERS, rate=None, talking=0.5))
    assert result.wrong == []
    assert result.figures.keys() > PERCENTILES | {"memory at first", "memory at last"}
    assert result.figures["most messages/s"] > result.figures["messages/s"] > 0


async def test_a_soak_talks_at_the_rate_that_it_is_given(unlimited: SharechatProcess) -> None:
    size = ("--members", "30", "--talking", "0.5", "--rate", "200", "--seconds", "1")
    figures = await bench(unlimited, "soak", *size)
    # Each of the rooms has ten members.
    assert figures["deliveries/s"] == pytest.approx(10 * figures["messages/s"], rel=0.2)
    assert "most messages/s" not in figures


async def test_a_soak_finds_a_message_that_members_did_not_hear(
    unlimited: SharechatProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Target, "history", lambda *_: None)
    talk = fleet.Fleet.talk

    def lose_one(*arguments: Any, **options: Any) -> Any:
        replies = talk(*arguments, **options)
        room = next(iter(replies[0].sent))
        replies[0].sent[room] += 1
        return replies

    monkeypatch.setattr(fleet.Fleet, "talk", lose_one)
    monkeypatch.setattr("sharechat.bench.checks._SECONDS_FOR_THE_REST", 0.5)
    result = await run(Soak(members=20), unlimited)
    assert result.wrong
    assert "heard the wrong number of messages" in result.wrong[0]


async def test_one_talks_in_a_large_room(unlimited: SharechatProcess) -> None:
    size = ("--members", "60", "--rate", "50", "--seconds", "1")
    figures = await bench(unlimited, "large-room", *size)
    assert figures.keys() > PERCENTILES | {"deliveries/s"}


async def test_members_that_drop_their_connections_come_back(unlimited: SharechatProcess) -> None:
    figures = await bench(unlimited, "comeback", "--members", "30")
    assert figures["all back after"] >= figures["half back after"] > 0


async def test_many_members_connect_from_several_addresses(
    unlimited: SharechatProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_PER_SOURCE", 10)
    result = await run(Comeback(members=30), unlimited)
    assert result.wrong == []


async def test_members_come_back_after_a_restart_and_have_missed_nothing(tmp_path: Path) -> None:
    result = await restarted("--data", str(tmp_path / "rooms.db"))
    assert result.wrong == []
    assert result.figures["all back after"] > 0


async def test_who_is_refused_for_good_is_reported() -> None:
    result = await restarted("--in-memory")
    (wrong,) = result.wrong
    assert "20 of the members did not come back" in wrong
    assert "404" in wrong


async def restarted(*flags: str) -> Result:
    """Let 20 members come back to a server that was restarted meanwhile."""
    port = str(free_port())
    with ExitStack() as stack:

        def start() -> SharechatProcess:
            return stack.enter_context(SharechatProcess("--port", port, *flags))

        def restart() -> None:
            assert server.stop() == 0
            start()

        server = start()
        return await run(Comeback(members=20, restart=restart), server)


async def run(
    workload: Soak | Comeback, server: SharechatProcess, parameters: Parameters = PARAMETERS
) -> Result:
    return await trio.to_thread.run_sync(workload.run, Target.parse(server.url), parameters)


@pytest.mark.time_limit(120)
async def test_workers_over_postgres_and_redis_are_restarted_and_all_come_back(
    tmp_path: Path,
) -> None:
    out = tmp_path / "scale.json"
    size = ("--scale", "0.002", "--workers", "2")
    words = ["--only", "comeback", *size, "--out", str(out)]
    assert await trio.to_thread.run_sync(scale.main, words) == 0
    report = json.loads(out.read_text())
    assert report["comeback"]["wrong"] == []
    assert report["comeback"]["figures"]["all back after"] > 0
