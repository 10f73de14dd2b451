"""Plain numbers that a scrape turns into metrics."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
"""Bounds, in seconds, for what happens within the process."""

LONG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Bounds, in seconds, for what waits for something outside of the process."""

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Bounds for batches: 512 drafts are the most in a commit."""


class Total:
    """A counter without labels: add to `value`."""

    __slots__ = ("_help", "_name", "value")

    def __init__(self, name: str, help_: str) -> None:
        self._name = name
        self._help = help_
        self.value = 0

    def metric(self) -> Metric:
        return CounterMetricFamily(self._name, self._help, value=self.value)


class Totals:
    """A counter with labels. What is in `known` is shown as 0 before it has happened."""

    def __init__(
        self, name: str, help_: str, labels: Sequence[str], known: Iterable[Sequence[str]] = ()
    ) -> None:
        self._name = name
        self._help = help_
        self._labels = labels
        self._values: dict[tuple[str, ...], int] = {tuple(values): 0 for values in known}

    def count(self, *values: str) -> None:
        """Add one for these values of the labels."""
        self._values[values] = self._values.get(values, 0) + 1

    def metric(self) -> Metric:
        metric = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for values, count in self._values.items():
            metric.add_metric(values, count)
        return metric


class Distribution:
    """How often a value was how large."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        # A float compared with an int takes twice as long.
        self._bounds = tuple(map(float, bounds))
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, metric: HistogramMetricFamily, values: Sequence[str] = ()) -> None:
        """Add this to a metric, with these values of its labels."""
        bounds = [*map(str, self._bounds), "+Inf"]
        metric.add_metric(
            values, list(zip(bounds, accumulate(self._counts), strict=True)), self._sum
        )


class Histogram(Distribution):
    """A histogram without labels."""

    __slots__ = ("_help", "_name")

    def __init__(self, name: str, help_: str, bounds: Sequence[float]) -> None:
        super().__init__(bounds)
        self._name = name
        self._help = help_

    def metric(self) -> Metric:
        metric = HistogramMetricFamily(self._name, self._help, labels=())
        self.add_to(metric)
        return metric


class Histograms:
    """A histogram with labels."""

    def __init__(
        self, name: str, help_: str, labels: Sequence[str], bounds: Sequence[float]
    ) -> None:
        self._name = name
        self._help = help_
        self._labels = labels
        self._bounds = bounds
        self._parts: dict[tuple[str, ...], Distribution] = {}

    def add(self, value: float, *values: str) -> None:
        """Add a value with these values of the labels."""
        part = self._parts.get(values)
        if part is None:
            part = self._parts[values] = Distribution(self._bounds)
        part.add(value)

    def metric(self) -> Metric:
        metric = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for values, part in self._parts.items():
            part.add_to(metric, values)
        return metric
