"""What the operator measures about itself, in Prometheus' text format.

main.py makes one `Metrics` and passes its methods to the parts that count; nobody imports counters as globals, so that tests
can look at their own. Names are a contract with the dashboards and alert rules.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from modelward_operator.facts import Key
from modelward_operator.pricing.money import NANO

COLD_START_SECONDS = (0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
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
        self.errors = Counter(
            "modelward_errors",
            "Errors, by where they came up: reconcile, relist, watch, load, autoscaler, ledger, budget.",
            ["where"],
            registry=self.registry,
        )
        self.decisions = Counter(
            "modelward_scaling_decisions",
            "Changes of the number of replicas that the load asks for, by direction: up, down.",
            ["namespace", "model", "direction"],
            registry=self.registry,
        )
        self.cold_starts = Histogram(
            "modelward_cold_start_seconds",
            "Time from when a model at zero replicas was woken to its first ready pod.",
            buckets=COLD_START_SECONDS,
            registry=self.registry,
        )
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

    def watch_replicas(self, wanted: Callable[[], Mapping[Key, tuple[int, str]]]) -> None:
        """Export how many replicas the load asks for and why, of each model under the built-in autoscaler."""
        self.registry.register(_Wanted(wanted))

    def forget_replicas(self, namespace: str, model: str) -> None:
        """Export nothing more of a model that is gone."""
        for direction in ("up", "down"):
            with suppress(KeyError):
                self.decisions.remove(namespace, model, direction)

    def watch_upgrades(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Export how many models are rolled to another serving image, and how many wait for that."""
        gauge = Gauge(
            "modelward_upgrades",
            "Models with upgradePolicy Rolling by how far their upgrade is: running, waiting.",
            ["state"],
            registry=self.registry,
        )
        for state in counts():
            gauge.labels(state).set_function(lambda state=state: counts()[state])

    def watch_costs(self, figures: Callable[[], Iterable[tuple[str, str, str, int, int]]]) -> None:
        """Export what models cost; `figures` gives namespace, model, currency, price per hour and this month's sum, both in nano units."""
        self.registry.register(_Costs(figures))

    def watch_budgets(self, figures: Callable[[], Iterable[tuple[str, str, str, int, int, int]]]) -> None:
        """Export what budgets came to; `figures` gives namespace, budget, currency, limit, spent and forecast, these in nano units."""
        self.registry.register(_Budgets(figures))

    def watch_authorities(self, ends: Callable[[], Iterable[tuple[str, float]]]) -> None:
        """Export when the operator's CAs expire; `ends` gives the Secret's name and seconds since the epoch, once one was needed."""
        self.registry.register(_Authorities(ends))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return bytes(generate_latest(self.registry))


class _Wanted(Collector):  # type: ignore[misc]  # the package is not typed
    """Gauges whose models are known only when they are read. The cause has one of its own: as a label it would begin alerts anew."""

    def __init__(self, wanted: Callable[[], Mapping[Key, tuple[int, str]]]) -> None:
        self._wanted = wanted

    def collect(self) -> list[Metric]:
        family = GaugeMetricFamily(
            "modelward_replicas_wanted", "Replicas that the load asks for.", labels=["namespace", "model"]
        )
        causes = GaugeMetricFamily(
            "modelward_replicas_wanted_cause",
            "1 for why the load asks for so many: Load, Panic, Idle, Woken, Fallback, Unknown (decided before this process began).",
            labels=["namespace", "model", "cause"],
        )
        for key, (number, cause) in sorted(self._wanted().items()):
            family.add_metric([key.namespace, key.name], number)
            causes.add_metric([key.namespace, key.name, cause], 1)
        return [family, causes]


class _Costs(Collector):  # type: ignore[misc]  # the package is not typed
    """Two gauges by model and currency, from the books of the process that leads; others have none."""

    def __init__(self, figures: Callable[[], Iterable[tuple[str, str, str, int, int]]]) -> None:
        self._figures = figures

    def collect(self) -> list[Metric]:
        labels = ["namespace", "model", "currency"]
        hourly = GaugeMetricFamily("modelward_model_cost_per_hour", "Price of a model's pods per hour.", labels=labels)
        spent = GaugeMetricFamily(
            "modelward_model_spent", "What a model has cost in this calendar month (UTC).", labels=labels
        )
        for namespace, model, currency, per_hour, this_month in self._figures():
            hourly.add_metric([namespace, model, currency], per_hour / NANO)
            spent.add_metric([namespace, model, currency], this_month / NANO)
        return [hourly, spent]


class _Budgets(Collector):  # type: ignore[misc]  # the package is not typed
    """Four gauges by budget and currency, from the evaluations of the process that leads; others have none."""

    def __init__(self, figures: Callable[[], Iterable[tuple[str, str, str, int, int, int]]]) -> None:
        self._figures = figures

    def collect(self) -> list[Metric]:
        labels = ["namespace", "budget", "currency"]
        families = {
            name: GaugeMetricFamily(f"modelward_budget_{name}", words, labels=labels)
            for name, words in (
                ("limit", "Limit of a CostBudget in this period, with its override while that holds."),
                ("spent", "What the models of a CostBudget have cost in this period."),
                (
                    "forecast",
                    "What the models of a CostBudget will have cost when its period ends, at the present rate.",
                ),
                ("left", "What is left of a CostBudget's limit; negative when more was spent."),
            )
        }
        for namespace, budget, currency, limit, spent, forecast in self._figures():
            values = {"limit": limit, "spent": spent, "forecast": forecast, "left": limit - spent}
            for name, family in families.items():
                family.add_metric([namespace, budget, currency], values[name] / NANO)
        return list(families.values())


class _Authorities(Collector):  # type: ignore[misc]  # the package is not typed
    """A gauge by CA, from the process that signs; others have none."""

    def __init__(self, ends: Callable[[], Iterable[tuple[str, float]]]) -> None:
        self._ends = ends

    def collect(self) -> list[Metric]:
        family = GaugeMetricFamily(
            "modelward_authority_expiry_timestamp_seconds",
            "When the CA that signs now expires, in seconds since the epoch.",
            labels=["authority"],
        )
        for name, expires in self._ends():
            family.add_metric([name], expires)
        return [family]


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
