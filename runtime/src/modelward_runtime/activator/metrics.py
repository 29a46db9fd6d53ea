"""What the activator counts, for Prometheus. Written on the event loop's thread, read by the admin port.

Model names are labels of gauges only while a model has something, so that thousands of models at zero cost no series.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from modelward_runtime.activator.demand import Line
from modelward_runtime.metrics import Histogram

_HOLDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0)


class Metrics:
    """Every metric. `exposition` is what the admin port answers; the callables are set by `run.py`."""

    def __init__(self) -> None:
        self.lines: Callable[[], Iterable[Line]] = tuple
        self.figures: Callable[[], dict[str, float]] = dict
        self.holds = Histogram(_HOLDS)
        self.forwards = Histogram(_SECONDS)
        self._requests: dict[tuple[str, str], int] = {}
        self._refused: dict[str, int] = {}
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def answered(self, transport: str, code: str) -> None:
        """One request was answered, or given up by its caller."""
        key = (transport, code)
        self._requests[key] = self._requests.get(key, 0) + 1

    def refused(self, reason: str) -> None:
        """Somebody was refused at the door; `reason` is one of a few words, never who."""
        self._refused[reason] = self._refused.get(reason, 0) + 1

    def exposition(self) -> bytes:
        """The text of GET /metrics."""
        return bytes(generate_latest(self.registry))

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """Everything as Prometheus families."""
        requests = CounterMetricFamily(
            "modelward_activator_requests", "Requests answered on models' ports", labels=["transport", "code"]
        )
        for key, count in self._requests.items():
            requests.add_metric(key, count)
        yield requests
        refused = CounterMetricFamily("modelward_activator_refused", "Refusals at the door", labels=["reason"])
        for reason, count in self._refused.items():
            refused.add_metric([reason], count)
        yield refused
        yield _histogram("modelward_activator_hold_seconds", "How long served requests had been held", self.holds)
        yield _histogram(
            "modelward_activator_forward_seconds", "From a pod being chosen to the end of its answer", self.forwards
        )
        yield from self._gauges()

    def _gauges(self) -> Iterator[GaugeMetricFamily]:
        lines = list(self.lines())
        names = ["namespace", "model"]
        held = GaugeMetricFamily("modelward_activator_held", "Requests that wait for a pod", labels=names)
        forwarding = GaugeMetricFamily("modelward_activator_forwarding", "Requests that a pod has", labels=names)
        for line in lines:
            held.add_metric([line.namespace, line.name], line.held)
            forwarding.add_metric([line.namespace, line.name], line.forwarding)
        yield held
        yield forwarding
        for name, (text, value) in self._plain().items():
            yield GaugeMetricFamily(f"modelward_activator_{name}", text, value=value)

    def _plain(self) -> dict[str, tuple[str, float]]:
        return {name: (FIGURES[name], value) for name, value in self.figures().items()}


FIGURES = {
    "ready": "1 while the table is known and the process is not on its way out",
    "routes": "Models that have ports here",
    "routes_closed": "Models whose ports could not be opened",
    "tables_invalid": "ConfigMaps with routes that could not be parsed",
    "table_age_seconds": "Seconds since the API server last said anything about routes",
    "endpoints_age_seconds": "Seconds since the API server last said anything about EndpointSlices",
}
"""What `run.py` gives figures of, with what each says."""


def _histogram(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets, total = histogram.sample()
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
