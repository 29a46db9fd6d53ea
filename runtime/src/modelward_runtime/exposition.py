"""What was counted, as Prometheus wants it: families of samples, and the text of GET /metrics.

`metrics.py` imports it at the first scrape, since Prometheus' own library takes a tenth of a start to import. It must not count.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

if TYPE_CHECKING:
    from modelward_runtime.metrics import Histogram, Metrics

_REMAINING: Final = (
    "Epsilon that was left for all in this period when the ledger was last asked, this process's reserve included"
)


def expose(registry: CollectorRegistry) -> bytes:
    """The text, in version 0.0.4 of Prometheus' format."""
    return bytes(generate_latest(registry))


def families_of(metrics: "Metrics") -> Iterator[Metric]:
    """Everything that was counted."""
    requests = CounterMetricFamily(
        "modelward_requests",
        "Requests answered on the model's ports, by transport (rest, grpc) and status code of that",
        labels=["transport", "code"],
    )
    for key, count in sorted(metrics.requests.items()):
        requests.add_metric(key, count)
    yield requests
    refused = CounterMetricFamily(
        "modelward_refused",
        "Requests refused at the door: unauthenticated, forbidden, unavailable, rate-limited, concurrency-limited",
        labels=["reason"],
    )
    for reason, count in sorted(metrics.refusals.items()):
        refused.add_metric([reason], count)
    yield refused
    stages = HistogramMetricFamily(
        "modelward_stage_seconds",
        "Time of inference requests by stage: decode, queue, run (once for each run, shared or not), encode, total",
        labels=["stage"],
    )
    for stage, histogram in metrics.stages.items():
        stages.add_metric([stage], *histogram.sample())
    yield stages
    yield _sizes("modelward_batch_requests", "Requests that shared a run of the model", metrics.batch_requests)
    yield _sizes("modelward_batch_rows", "Rows of a run, where requests may share one", metrics.batch_rows)
    yield GaugeMetricFamily(
        "modelward_in_flight", "Inference requests being worked on", value=metrics.meter.concurrency
    )
    yield GaugeMetricFamily("modelward_queue_waiting", "Requests that wait for the model", value=metrics.waiting())
    yield GaugeMetricFamily("modelward_ready", "1 while serving and not draining", value=float(metrics.ready()))
    if (expiry := metrics.certificate_expiry()) is not None:
        yield GaugeMetricFamily(
            "modelward_certificate_expiry_timestamp_seconds",
            "When the certificate of the model's ports expires, in seconds since the epoch",
            value=expiry,
        )
    yield from _gpu(metrics.gpu_memory())
    yield from _epsilon(metrics.epsilon())
    if metrics.model:
        model = GaugeMetricFamily("modelward_model_info", "What is served, by what", labels=list(metrics.model))
        model.add_metric(list(metrics.model.values()), 1)
        yield model


def _gpu(memory: tuple[int, int] | None) -> Iterator[Metric]:
    """Memory of the GPU that computes, whoever uses it."""
    for kind, size in zip(("used", "total"), memory or (), strict=False):
        yield GaugeMetricFamily(
            f"modelward_gpu_memory_{kind}_bytes", f"Memory of the GPU, whoever uses it: {kind}", value=size
        )


def _epsilon(told: Mapping[str, Any] | None) -> Iterator[Metric]:
    """What was spent of a privacy budget; by policy, and never by subject."""
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


def _sizes(name: str, text: str, histogram: "Histogram") -> HistogramMetricFamily:
    buckets, total = histogram.sample()
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)
