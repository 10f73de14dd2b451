"""The Telemetry that counts, and what a process shows of it."""

import re
from collections.abc import Callable, Iterator
from platform import python_version
from time import perf_counter

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sharechat.adapters.prometheus.figures import (
    LONG,
    SHORT,
    SIZES,
    Histogram,
    Histograms,
    Total,
    Totals,
)
from sharechat.domain.errors import SharechatError
from sharechat.domain.outcomes import CLOSES, PROBLEMS, Problem
from sharechat.domain.telemetry import Level, Part, Telemetry

_LEVELS = {
    Level.MEMBERS: ("sharechat_members", "Members who are connected."),
    Level.ARRIVALS_WAITING: (
        "sharechat_arrivals_waiting",
        "Clients who wait for their turn to come in.",
    ),
    Level.ROOMS: ("sharechat_rooms", "Rooms with an actor on this process."),
    Level.WAITING: ("sharechat_journal_waiting", "Drafts that wait to be stored."),
    Level.SPACE_USED: (
        "sharechat_space_used_bytes",
        "Bytes that the rooms take in the file or in memory.",
    ),
    Level.SPACE_LIMIT: ("sharechat_space_limit_bytes", "Bytes that they may take."),
    Level.BUS_UP: ("sharechat_bus_up", "1 if the bus between processes works, else 0."),
}

_CODES = frozenset([*range(1000, 1016), *(close.code for close in CLOSES)]) | {
    problem.code for problem in PROBLEMS
}
"""The close codes that are told apart. A client may send any of 3000 to 4999."""

_KNOWN_CLOSES = [(str(code), "server") for code in sorted({close.code for close in CLOSES})] + [
    (str(code), side) for code in (1000, 1001, 1005, 1006) for side in ("client", "server")
]


class PrometheusTelemetry(Telemetry, Collector):
    """Counts in plain numbers; `registry` makes metrics of them, and of the process's own.

    No label takes values that a client chooses.
    """

    def __init__(self, version: str) -> None:
        self._version = version
        self._levels: dict[Level, Callable[[], float]] = {}
        self._failures = Totals(
            "sharechat_failures",
            "Failures that nobody expected, whose tracebacks are in the log.",
            ["part"],
            [[part] for part in Part],
        )
        self._members_joined = Totals(
            "sharechat_joins", "Members who have joined.", ["resumed"], [["false"], ["true"]]
        )
        self._members_left = Total("sharechat_leaves", "Members who had joined and have ended.")
        self._slow = Total("sharechat_slow_members_closed", "Members closed as too slow to read.")
        self._refusals = Totals(
            "sharechat_refusals",
            "Requests and handshakes refused, by the problem's name.",
            ["kind"],
            [[problem.slug] for problem in PROBLEMS],
        )
        self._closes = Totals(
            "sharechat_closes",
            "Websockets ended, by the close code and the side that began to close.",
            ["code", "side"],
            _KNOWN_CLOSES,
        )
        self._ping = Histogram("sharechat_ping_seconds", "From a ping to the client's pong.", LONG)
        self._chats = Total("sharechat_messages_stored", "Chat messages stored.")
        self._commit = Histogram(
            "sharechat_commit_seconds", "How long a commit of the Journal took.", LONG
        )
        self._batch = Histogram(
            "sharechat_commit_drafts", "How many drafts a commit settled.", SIZES
        )
        self._failed_commits = Total(
            "sharechat_commit_failures", "Commits that failed because the database was away."
        )
        self._not_stored = Totals(
            "sharechat_messages_failed",
            "Messages whose authors were told that they were not stored, by the error.",
            ["kind"],
            [["malformed"], ["no-space"], ["not-a-member"], ["not-stored"], ["rejected"]],
        )
        self._deliveries = Total(
            "sharechat_deliveries", "Messages handed to members: one for each and each."
        )
        self._bytes = Total("sharechat_delivered_bytes", "Bytes of JSON in those deliveries.")
        self._fan_out = Histogram(
            "sharechat_fan_out_seconds", "To hand one batch to all members of a room.", SHORT
        )
        self._gaps = Total("sharechat_gaps_repaired", "Times that a room read what it had missed.")
        self._gap_entries = Total(
            "sharechat_gap_entries_repaired", "Messages that rooms read because they missed them."
        )
        self._published = Total("sharechat_bus_published", "Messages handed to the bus.")
        self._heard = Total("sharechat_bus_heard", "Messages heard from the bus.")
        self._lost = Total("sharechat_bus_lost", "Messages dropped before they reached the bus.")
        self._interruptions = Total("sharechat_bus_interruptions", "Connections to the bus lost.")
        self._repaired = Total(
            "sharechat_bus_repaired", "Rooms that others were told to look at, after a loss."
        )
        self._probe = Histogram(
            "sharechat_bus_probe_seconds", "Round trip of the probe through the bus.", LONG
        )
        self._requests = Histograms(
            "sharechat_http_request_seconds",
            "From a REST request to the head of its answer.",
            ["route", "status"],
            LONG,
        )
        self.lag = Histogram(
            "sharechat_event_loop_lag_seconds", "How late a timer of the event loop fired.", SHORT
        )
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as prometheus-client asks for them."""
        build = GaugeMetricFamily(
            "sharechat_build_info", "Always 1; the labels tell.", labels=["version", "python"]
        )
        build.add_metric([self._version, python_version()], 1)
        yield build
        for level, read in self._levels.items():
            yield GaugeMetricFamily(*_LEVELS[level], value=read())
        for figure in vars(self).values():
            if isinstance(figure, Total | Totals | Histogram | Histograms):
                yield figure.metric()

    # What follows is described in `sharechat.domain.telemetry`.

    clock = staticmethod(perf_counter)

    def watch(self, level: Level, read: Callable[[], float]) -> None:
        self._levels[level] = read

    def failed(self, part: Part) -> None:
        self._failures.count(part.value)

    def joined(self, *, resumed: bool) -> None:
        self._members_joined.count("true" if resumed else "false")

    def left(self, *, too_slow: bool) -> None:
        self._members_left.value += 1
        if too_slow:
            self._slow.value += 1

    def refused(self, problem: Problem) -> None:
        self._refusals.count(problem.slug)

    def closed(self, code: int, *, by_client: bool) -> None:
        shown = str(code) if code in _CODES else "other"
        self._closes.count(shown, "client" if by_client else "server")

    def answered_ping(self, seconds: float) -> None:
        self._ping.add(seconds)

    def stored(self, batch: int, chats: int, since: float) -> None:
        self._commit.add(perf_counter() - since)
        self._batch.add(batch)
        self._chats.value += chats

    def store_failed(self) -> None:
        self._failed_commits.value += 1

    def not_stored(self, reason: SharechatError) -> None:
        self._not_stored.count(_kind(type(reason.__cause__ or reason)))

    def delivered(self, messages: int, size: int, members: int, since: float | None = None) -> None:
        self._deliveries.value += messages * members
        self._bytes.value += size * members
        if since is not None:
            self._fan_out.add(perf_counter() - since)

    def gap_repaired(self, entries: int) -> None:
        self._gaps.value += 1
        self._gap_entries.value += entries

    def published(self, entries: int) -> None:
        self._published.value += entries

    def heard(self, entries: int) -> None:
        self._heard.value += entries

    def lost(self, entries: int) -> None:
        self._lost.value += entries

    def bus_interrupted(self) -> None:
        self._interruptions.value += 1

    def bus_repaired(self, rooms: int) -> None:
        self._repaired.value += rooms

    def probe_returned(self, since: float) -> None:
        self._probe.add(perf_counter() - since)

    def answered(self, route: str, status: int, since: float) -> None:
        self._requests.add(perf_counter() - since, route, str(status))


def _kind(error: type[BaseException]) -> str:
    """Return an error's name as a label: `not-a-member` for NotAMemberError."""
    words = re.findall(r"[A-Z][a-z]*", error.__name__.removesuffix("Error"))
    return "-".join(words).lower()
