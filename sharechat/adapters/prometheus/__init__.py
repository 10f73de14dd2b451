"""Telemetry for Prometheus: what happens is counted, and served as text.

The classes of prometheus-client lock at every step, which costs microseconds where a message has
sixty. So what happens often is counted in plain numbers, and only a scrape makes metrics of them.
"""

from sharechat.adapters.prometheus.server import serve_http, serve_worker
from sharechat.adapters.prometheus.telemetry import PrometheusTelemetry
from sharechat.adapters.prometheus.workers import WorkerMetrics

__all__ = ["PrometheusTelemetry", "WorkerMetrics", "serve_http", "serve_worker"]
