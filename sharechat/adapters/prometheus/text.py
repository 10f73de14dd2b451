"""The text of a scrape, with the figures of every worker."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The classic format, which every Prometheus reads."""


class _Merged(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def to_text(workers: Mapping[int, Iterable[Metric]], *, expected: int) -> bytes:
    """Return one scrape of several workers, whose numbers become the label `worker`.

    `expected` is how many should have answered.
    """
    merged: dict[str, Metric] = {}
    for number, metrics in workers.items():
        for metric in metrics:
            whole = merged.get(metric.name)
            if whole is None:
                whole = Metric(metric.name, metric.documentation, metric.type)
                merged[metric.name] = whole
            for sample in metric.samples:
                labels = {"worker": str(number), **sample.labels}
                whole.add_sample(sample.name, labels, sample.value)
    count = GaugeMetricFamily(
        "sharechat_workers", "How many processes serve the port.", value=expected
    )
    missing = GaugeMetricFamily(
        "sharechat_workers_missing",
        "How many of them did not answer in time for this scrape, and are left out.",
        value=expected - len(workers),
    )
    return generate_latest(_Merged([count, missing, *merged.values()]))
