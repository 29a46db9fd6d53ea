"""What the runtime counts, for Prometheus.

Written by `exchange.py`, `batch.py` (as its observer) and the transports, on the event loop's thread only; read by the admin
port. Plain lists that become Prometheus families when somebody scrapes: a sample costs well under a microsecond, where the
client library's own metrics take a lock and several each. It must not hold anything a caller sent but sizes.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
STAGES = ("decode", "queue", "run", "encode", "total")
_REMAINING = (
    "Epsilon that was left for all in this period when the ledger was last asked, this process's reserve included"
)
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Histogram:
    """Counts per bucket and a sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Add one sample."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def sample(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulative buckets and the sum, as Prometheus wants them."""
        buckets, total = [], 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets, self._sum


class Metrics:
    """Every metric of the request path. `exposition` is what the admin port answers."""

    def __init__(self) -> None:
        self.stages = {stage: Histogram(SECONDS) for stage in STAGES}
        self.batch_requests = Histogram(SIZES)
        self.batch_rows = Histogram(SIZES)
        self.in_flight = 0
        self.waiting: Callable[[], int] = lambda: 0
        self.ready: Callable[[], bool] = lambda: False
        self.epsilon: Callable[[], Mapping[str, Any] | None] = lambda: None
        self.model: dict[str, str] = {}
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

    def ran(self, requests: int, rows: int, queue_seconds: Sequence[float], run_seconds: float) -> None:
        """One run of the model ended (the batcher's `Observer`)."""
        self.batch_requests.observe(requests)
        if rows:
            self.batch_rows.observe(rows)
        for wait in queue_seconds:
            self.stages["queue"].observe(wait)
        self.stages["run"].observe(run_seconds)

    def exposition(self) -> bytes:
        """The text of GET /metrics, of type `CONTENT_TYPE`."""
        return bytes(generate_latest(self.registry))

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """Everything as Prometheus families."""
        requests = CounterMetricFamily(
            "modelward_requests", "Requests answered on the model's ports", labels=["transport", "code"]
        )
        for key, count in sorted(self._requests.items()):
            requests.add_metric(key, count)
        yield requests
        refused = CounterMetricFamily("modelward_refused", "Requests refused at the door", labels=["reason"])
        for reason, count in sorted(self._refused.items()):
            refused.add_metric([reason], count)
        yield refused
        stages = HistogramMetricFamily(
            "modelward_stage_seconds",
            "Time of inference requests by stage; run counts once per batch, the others per request",
            labels=["stage"],
        )
        for stage, histogram in self.stages.items():
            stages.add_metric([stage], *histogram.sample())
        yield stages
        yield _sizes("modelward_batch_requests", "Requests that shared a run of the model", self.batch_requests)
        yield _sizes("modelward_batch_rows", "Rows of a run, where requests may share one", self.batch_rows)
        yield GaugeMetricFamily("modelward_in_flight", "Inference requests being worked on", value=self.in_flight)
        yield GaugeMetricFamily("modelward_queue_waiting", "Requests that wait for the model", value=self.waiting())
        yield GaugeMetricFamily("modelward_ready", "1 while serving and not draining", value=float(self.ready()))
        yield from self._epsilon()
        if self.model:
            model = GaugeMetricFamily("modelward_model_info", "What is served, by what", labels=list(self.model))
            model.add_metric(list(self.model.values()), 1)
            yield model

    def _epsilon(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """What was spent of a privacy budget; by policy, and never by subject."""
        told = self.epsilon()
        if told is None:
            return
        spent = CounterMetricFamily(
            "modelward_privacy_epsilon_spent", "Epsilon that this process has spent on answers", labels=["policy"]
        )
        spent.add_metric([told["policy"]], float(told["spent"]))
        yield spent
        for name, text in (("reserved", "Epsilon that is reserved and not spent"), ("remaining", _REMAINING)):
            if told[name] is not None:
                gauge = GaugeMetricFamily(f"modelward_privacy_epsilon_{name}", text, labels=["policy"])
                gauge.add_metric([told["policy"]], float(told[name]))
                yield gauge


def _sizes(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets, total = histogram.sample()
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
