"""What the operator measures about itself, in Prometheus' text format.

main.py makes one `Metrics` and passes its methods to the parts that count; nobody imports counters as globals, so that tests
can look at their own. Names are a contract with the dashboards and alert rules.
"""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

PASS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.passes = Histogram(
            "modelward_reconcile_seconds",
            "Time of one reconcile pass, by result: success, requeued, conflict, unreadable, failed.",
            ["result"],
            buckets=PASS_SECONDS,
            registry=self.registry,
        )
        self.queue_wait = Histogram(
            "modelward_queue_wait_seconds",
            "Time from when a key was due to when a worker took it.",
            buckets=PASS_SECONDS,
            registry=self.registry,
        )
        self.requests = Counter(
            "modelward_api_requests",
            "Requests to the API server, by verb, kind and status code (0: no answer).",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self.writes = Counter(
            "modelward_api_writes",
            "Writes that the API server accepted, by verb and kind.",
            ["verb", "kind"],
            registry=self.registry,
        )
        self.errors = Counter("modelward_errors", "Errors, by where they came up.", ["where"], registry=self.registry)
        self.leading = Gauge("modelward_leader", "1 while this replica holds the Lease.", registry=self.registry)

    def count_request(self, verb: str, kind: str, code: int) -> None:
        """Note one request to the API server; a write that was accepted counts as a write too."""
        self.requests.labels(verb, kind, str(code)).inc()
        if verb in {"apply", "create", "patch", "update", "delete"} and 200 <= code < 300:
            self.writes.labels(verb, kind).inc()

    def watch_queue(self, depth: Callable[[], int], oldest_age: Callable[[], float]) -> None:
        """Export the queue's depth and the age of its oldest key, read when scraped."""
        Gauge("modelward_queue_depth", "Keys that wait for a worker.", registry=self.registry).set_function(depth)
        Gauge(
            "modelward_queue_oldest_seconds", "How long the longest-waiting key has been due.", registry=self.registry
        ).set_function(oldest_age)

    def watch_streams(self, last_heard: Callable[[], dict[str, float]]) -> None:
        """Export, per kind, the seconds since an event, bookmark or listing came; `last_heard` gives monotonic times."""
        self.registry.register(_WatchAge(last_heard))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return bytes(generate_latest(self.registry))


class _WatchAge(Collector):  # type: ignore[misc]  # the package is not typed
    """A gauge whose kinds are known only when it is read."""

    def __init__(self, last_heard: Callable[[], dict[str, float]]) -> None:
        self._last_heard = last_heard

    def collect(self) -> list[Metric]:
        family = GaugeMetricFamily(
            "modelward_watch_age_seconds", "Time since the watch of a kind was last heard.", labels=["kind"]
        )
        now = time.monotonic()
        for kind, heard in sorted(self._last_heard().items()):
            family.add_metric([kind], now - heard)
        return [family]
