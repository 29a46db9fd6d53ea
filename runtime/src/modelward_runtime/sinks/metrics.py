"""What is counted of records on their way out, for Prometheus: written on the event loop's thread, read by the admin port."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from modelward_runtime.metrics import SECONDS, Histogram


class OutletMetrics:
    """The counters of one kind of records; `prefix` as in `modelward_audit`. A `Watcher` of outlets."""

    def __init__(self, prefix: str, what: str) -> None:
        self._prefix = prefix
        self._what = what
        self.written = 0
        self.lost = 0  # their calls were answered
        self.refused = 0  # calls that were refused, and left no record, because there was no room for one
        self.failures = 0
        self.write_seconds = Histogram(SECONDS)
        self.waiting: Callable[[], int] = lambda: 0
        self.failing: Callable[[], bool] = lambda: False

    def wrote(self, lines: int, last: bytes, seconds: float) -> None:
        """A batch is safe."""
        self.written += lines
        self.write_seconds.observe(seconds)

    def failed(self, why: str) -> None:
        """A write failed."""
        self.failures += 1

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """Everything as Prometheus families."""
        records = CounterMetricFamily(
            f"{self._prefix}_records",
            f"{self._what}: written, lost (the call was answered), refused (with the call, for want of room)",
            labels=["result"],
        )
        for result, count in (("written", self.written), ("lost", self.lost), ("refused", self.refused)):
            records.add_metric([result], count)
        yield records
        yield CounterMetricFamily(
            f"{self._prefix}_sink_failures", "Writes that failed and were tried again", self.failures
        )
        buckets, total = self.write_seconds.sample()
        yield HistogramMetricFamily(
            f"{self._prefix}_write_seconds", "Time of a write until it was safe", buckets, total
        )
        yield GaugeMetricFamily(f"{self._prefix}_waiting", "Records that are not safe yet", self.waiting())
        yield GaugeMetricFamily(f"{self._prefix}_failing", "1 while the sink takes nothing", float(self.failing()))
