"""What Prometheus sees: the samples of a scrape, and of a Telemetry in this process."""

import re
from collections.abc import Mapping

from prometheus_client.core import Sample
from prometheus_client.parser import text_string_to_metric_families

from sharechat.adapters.prometheus import PrometheusTelemetry
from tests.harness.deadline import wait_until
from tests.harness.http import fetch
from tests.harness.process import ServerProcess

FLAG = ("--metrics", "127.0.0.1:0")
"""The flags of a server that shows its metrics at `metrics_url`."""


class Samples:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.all: list[Sample] = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def total(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """Return the sum of the samples of a name that have these labels, 0 without any."""
        wanted = (labels or {}).items()
        return sum(s.value for s in self.all if s.name == name and wanted <= s.labels.items())

    def values(self, label: str) -> set[str]:
        """Return the values that a label has."""
        return {sample.labels[label] for sample in self.all if label in sample.labels}

    def labels(self, name: str) -> set[str]:
        """Return the labels that the samples of a name have. Raises KeyError if it has none."""
        found = [sample.labels for sample in self.all if sample.name == name]
        if not found:
            raise KeyError(name)
        return set().union(*found)


def metrics_url(server: ServerProcess) -> str:
    """Return where a server shows its metrics, as its log says."""
    pattern = r"metrics are served.*port=(\d+)"
    wait_until(lambda: re.search(pattern, server.stderr))
    found = re.search(pattern, server.stderr)
    assert found
    return f"http://127.0.0.1:{found[1]}/metrics"


def scrape(server: ServerProcess) -> Samples:
    """Return what the server shows now."""
    response = fetch(metrics_url(server))
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Samples(response.body.decode())


def counted(telemetry: PrometheusTelemetry, name: str, **labels: str) -> float:
    """Return the value of one sample of a Telemetry, 0 if there is none."""
    return telemetry.registry.get_sample_value(name, labels) or 0
