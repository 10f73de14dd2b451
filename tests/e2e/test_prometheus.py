"""Prometheus itself scrapes the real server, runs each query of the dashboard and each alert."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import trio

from tests.harness.cluster import Cluster
from tests.harness.command import sharechat
from tests.harness.deadline import eventually
from tests.harness.http import HANDSHAKE, fetch
from tests.harness.metrics import FLAG, metrics_url
from tests.harness.process import SharechatProcess
from tests.harness.prometheus import Prometheus

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "sharechat.json"
NO_LIMITS = ("--message-rate", "0", "--room-rate", "0", "--join-rate", "0")


def panels() -> Mapping[str, str]:
    """Return the dashboard's queries, over the last ten scrapes, by the panel and its letter.

    Of those that a server over Postgres and Redis has figures for.
    """
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        .replace("$__rate_interval", "10s")
        .replace("$job", "sharechat")
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        if "without a database" not in panel["title"]
        for target in panel.get("targets", ())
    }


async def talk(server: SharechatProcess) -> None:
    size = ("--members", "50", "--seconds", "3")
    done = await sharechat("bench", server.url, "--workload", "rooms", *size)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_every_panel_has_figures_while_a_bench_runs_and_every_alert_is_evaluated(
    servers: Cluster, tmp_path: Path
) -> None:
    server = servers.serve("--workers", "2", *FLAG, *NO_LIMITS)
    target = re.sub(r"http://|/metrics", "", metrics_url(server))
    with Prometheus(tmp_path, target) as prometheus:

        def empty() -> set[str]:
            return {name for name, query in panels().items() if not prometheus.query(query)}

        def evaluated() -> bool:
            return all(rule["health"] != "unknown" for rule in prometheus.rules().values())

        def states() -> set[str]:
            return {rule["state"] for rule in prometheus.rules().values()}

        # A counter that appears only with its first event shows no rate before the second scrape.
        assert fetch(f"{server.url}/api/serve/x", headers=HANDSHAKE).status == 404
        await eventually(lambda: prometheus.query("sharechat_refusals_total"))
        assert fetch(f"{server.url}/api/serve/x", headers=HANDSHAKE).status == 404
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, server)
            await eventually(lambda: not empty())
        await eventually(evaluated)
        assert {rule["health"] for rule in prometheus.rules().values()} == {"ok"}
        assert "firing" not in states()  # On a busy machine one may be pending.

        assert server.stop() == 0
        await eventually(lambda: prometheus.rules()["SharechatDown"]["state"] == "pending")
