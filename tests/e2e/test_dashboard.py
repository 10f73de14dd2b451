"""The dashboard and the alerts ask for what a scrape of the real server has.

Each query is parsed, and every name and label in it is looked up in a scrape. A query with a wrong
name is no error for Prometheus, which runs them all in test_prometheus.py: it yields nothing.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import trio
import yaml
from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    MatchOp,
    MatrixSelector,
    VectorSelector,
)

from tests.harness.cluster import Cluster, listen
from tests.harness.deadline import wait_until
from tests.harness.http import fetch, make_room
from tests.harness.metrics import FLAG, Samples, scrape
from tests.harness.process import SharechatProcess

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "sharechat.json").read_text())
RULES = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())

BY_PROMETHEUS = {"job", "instance"}
"""The labels that Prometheus adds to what it scrapes."""

UP = "up"
"""A metric that Prometheus makes itself, with these labels alone."""

_COUNTERS = ("rate", "increase", "irate")
_LABEL = re.compile(r"{{\s*([a-z_]+)\s*}}")
_RULE_LABEL = re.compile(r"\$labels\.([a-z_]+)")


def panels() -> Iterator[Any]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            shown = set(_LABEL.findall(target["legendFormat"]))
            expr = target["expr"].replace("$__rate_interval", "5m")
            expr = expr.replace('job=~"$job"', 'job=~".+"')
            assert "$" not in expr
            yield pytest.param(expr, shown, id=f"{panel['title']}-{target['refId']}")


def rules() -> Iterator[Any]:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            shown = set(_RULE_LABEL.findall(" ".join(rule["annotations"].values())))
            yield pytest.param(rule["expr"], shown, id=rule["alert"])


@pytest.fixture(scope="module", name="samples")
def _samples(servers: Cluster) -> Samples:
    """A scrape of two workers, after a member has come, talked and gone, and what a file adds."""
    server = servers.serve("--workers", "2", *FLAG)
    trio.run(_visit, server)
    wait_until(lambda: scrape(server).total("sharechat_leaves_total") == 1)
    samples = scrape(server)
    assert server.stop() == 0
    with SharechatProcess(*FLAG) as alone:
        samples.all += [s for s in scrape(alone).all if s.name.startswith("sharechat_space_")]
    return samples


async def _visit(server: SharechatProcess) -> None:
    room = make_room(server.url)
    assert fetch(f"{server.url}/api/room/{room}").status == 200
    async with trio.open_nursery() as nursery:
        listener = await listen(nursery, server.ws_url(room))
        await listener.say_numbers(0, 3)
        await listener.until("chat", 3)
        nursery.cancel_scope.cancel()


def labels_of(expr: Any, samples: Samples) -> set[str]:
    """Return the labels of what an expression yields; asserts that it asks for what there is."""
    match expr:
        case VectorSelector():
            return _labels_of_selector(expr, samples)
        case MatrixSelector():
            return _labels_of_selector(expr.vector_selector, samples)
        case AggregateExpr():
            inner = labels_of(expr.expr, samples)
            if expr.modifier is None:
                return set()
            named = set(expr.modifier.labels)
            assert named <= inner, f"{named - inner} is no label of what is added up"
            return named if expr.modifier.type == AggModifierType.By else inner - named
        case Call():
            return _labels_of_call(expr, samples)
        case BinaryExpr():
            left, right = labels_of(expr.lhs, samples), labels_of(expr.rhs, samples)
            if expr.modifier is not None and expr.modifier.matching is not None:
                on = set(expr.modifier.matching.labels)
                assert on <= left & right
            elif left and right:
                assert left == right, "no pair would match"
            return left or right
        case _:
            # A number has none; what is in brackets has those of what is inside.
            return labels_of(expr.expr, samples) if hasattr(expr, "expr") else set()


def _labels_of_selector(selector: VectorSelector, samples: Samples) -> set[str]:
    name = selector.name
    assert name is not None
    labels = (set() if name == UP else samples.labels(name)) | BY_PROMETHEUS
    for matcher in selector.matchers.matchers:
        assert matcher.name in labels, f"{name} has no label {matcher.name}"
        if matcher.name in BY_PROMETHEUS:
            continue
        values = samples.values(matcher.name)
        wanted = [matcher.value] if matcher.op == MatchOp.Equal else matcher.value.split("|")
        assert set(wanted) <= values, f"{matcher.name} is never {set(wanted) - values}"
    return labels


def _labels_of_call(call: Call, samples: Samples) -> set[str]:
    labels = set().union(*(labels_of(argument, samples) for argument in call.args))
    if call.func.name in _COUNTERS:
        name = call.args[0].vector_selector.name
        assert name.endswith(("_total", "_bucket", "_count", "_sum")), f"{name} is no counter"
    if call.func.name == "histogram_quantile":
        assert "le" in labels, "a quantile needs the buckets"
        labels -= {"le"}
    return labels


@pytest.mark.parametrize(("query", "shown"), [*panels(), *rules()])
def test_a_query_asks_for_what_a_scrape_has_and_shows_what_it_asked_for(
    samples: Samples, query: str, shown: set[str]
) -> None:
    labels = labels_of(promql_parser.parse(query), samples)
    assert shown <= labels


def test_every_metric_of_sharechat_is_on_the_dashboard_or_in_an_alert(samples: Samples) -> None:
    queries = "".join([*(str(p.values[0]) for p in panels()), *(str(r.values[0]) for r in rules())])
    ours = {sample.name for sample in samples.all if sample.name.startswith("sharechat_")}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in ours}
    assert {name for name in families if name not in queries} == set()


def test_every_alert_says_what_it_means_and_prometheus_reads_its_file() -> None:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            assert set(rule["annotations"]) == {"summary", "description"}
            assert rule["labels"]["severity"] in ("critical", "warning")
    assert PROMETHEUS["rule_files"] == ["alerts.yml"]
    assert PROMETHEUS["scrape_configs"][0]["job_name"] == "sharechat"
