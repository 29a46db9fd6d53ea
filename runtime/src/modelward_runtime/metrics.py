"""What the runtime counts, for Prometheus.

Written by `exchange.py`, `batch.py` (as its observer) and the transports, on the event loop's thread only; read by the admin
port. Plain lists that become Prometheus families when somebody scrapes: a sample costs well under a microsecond, where the
client library's own metrics take a lock and several each; `exposition.py` makes them. It must not hold anything a caller sent but sizes.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelward_runtime.meter import Meter

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

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
_MOST_ROWS = 64
STAGES = ("decode", "queue", "run", "encode", "total")


class Histogram:
    """Counts per bucket and a sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Add one sample, or so many."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

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
        self._decode, self._queue, self._run, self._encode, self._total = (self.stages[stage] for stage in STAGES)
        self._alone: dict[int, int] = {}  # runs of one request, by its rows, that no histogram has yet
        self.meter = Meter()
        self.waiting: Callable[[], int] = lambda: 0
        self.ready: Callable[[], bool] = lambda: False
        self.gpu_memory: Callable[[], tuple[int, int] | None] = lambda: None
        self.epsilon: Callable[[], Mapping[str, Any] | None] = lambda: None
        self.certificate_expiry: Callable[[], float | None] = lambda: None
        """When the certificate of the model's ports expires, in seconds since the epoch; None without TLS."""
        self.model: dict[str, str] = {}
        self.requests: dict[tuple[str, str], int] = {}
        self.refusals: dict[str, int] = {}

    @cached_property
    def registry(self) -> "CollectorRegistry":
        """What is scraped: this, and what others register. Prometheus' library is a tenth of a start, so the first scrape imports it."""
        from prometheus_client import CollectorRegistry  # noqa: PLC0415  as said

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return registry

    def answered(self, transport: str, code: str) -> None:
        """One request was answered, or given up by its caller."""
        key = (transport, code)
        self.requests[key] = self.requests.get(key, 0) + 1

    def refused(self, reason: str) -> None:
        """Somebody was refused at the door; `reason` is one of a few words, never who."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def passed(self, decode_seconds: float, encode_seconds: float, total_seconds: float) -> None:
        """One inference was answered."""
        self._decode.observe(decode_seconds)
        self._encode.observe(encode_seconds)
        self._total.observe(total_seconds)

    def ran(self, requests: int, rows: int, queue_seconds: Sequence[float], run_seconds: float) -> None:
        """One run of the model ended (the batcher's `Observer`)."""
        self.batch_requests.observe(requests)
        if rows:
            self.batch_rows.observe(rows)
        for wait in queue_seconds:
            self._queue.observe(wait)
        self._run.observe(run_seconds)

    def ran_now(self, rows: int, run_seconds: float) -> None:
        """The same of one request that did not wait: its place in most histograms is known, and it is put there when they are read."""
        self._alone[rows] = self._alone.get(rows, 0) + 1
        self._run.observe(run_seconds)
        if len(self._alone) > _MOST_ROWS:
            self._settle()

    def _settle(self) -> None:
        alone, self._alone = self._alone, {}
        for rows, times in alone.items():
            self.batch_requests.observe(1, times)
            self._queue.observe(0.0, times)
            if rows:
                self.batch_rows.observe(rows, times)

    def exposition(self) -> bytes:
        """The text of GET /metrics."""
        from modelward_runtime.exposition import expose  # noqa: PLC0415  as above

        return expose(self.registry)

    def collect(self) -> "Iterator[Metric]":
        """Everything as Prometheus families, for the registry."""
        from modelward_runtime.exposition import families_of  # noqa: PLC0415  start-up, see `registry`

        self._settle()
        return families_of(self)
