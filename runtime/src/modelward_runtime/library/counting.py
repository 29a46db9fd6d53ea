"""Metrics of several models in one process: each model's own, with its name in the label `model`, and what is for no model without.

Made by `serving.py`. A process that serves one model has no such label, since what is scraped names it already.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from modelward_runtime.meter import Meter
from modelward_runtime.metrics import Metrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric
    from prometheus_client.samples import Sample

_OF_THE_SERVER = frozenset({"modelward_requests", "modelward_refused"})  # what may be for no model


class Part(Meter):
    """The requests of one model, which are the whole's too: GET /load speaks of the process."""

    def __init__(self, whole: Meter, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._whole = whole

    def enter(self) -> None:
        """One more request is being worked on."""
        super().enter()
        self._whole.enter()

    def leave(self) -> None:
        """One of them was answered, or given up."""
        super().leave()
        self._whole.leave()

    def put_off(self) -> None:
        """It will enter again."""
        super().put_off()
        self._whole.put_off()

    def answer_at_once(self) -> None:
        """The one that entered last was answered in the same turn."""
        super().answer_at_once()
        self._whole.answer_at_once()


class LibraryMetrics:
    """By model; `unnamed` counts what is for none."""

    def __init__(self) -> None:
        self.meter = Meter()
        self.unnamed = Metrics()
        self._named: dict[str, Metrics] = {}
        self._registry: CollectorRegistry | None = None

    def of(self, name: str) -> Metrics:
        """One model's; they go on counting when it is unloaded and loaded again."""
        if name not in self._named:
            self._named[name] = Metrics()
            self._named[name].meter = Part(self.meter)
        return self._named[name]

    def exposition(self) -> bytes:
        """The text of GET /metrics. Prometheus' library is imported by the first scrape, as in `metrics.py`."""
        from prometheus_client import CollectorRegistry  # noqa: PLC0415  as said

        from modelward_runtime.exposition import expose  # noqa: PLC0415  likewise

        if self._registry is None:
            self._registry = CollectorRegistry(auto_describe=False)
            self._registry.register(self)
        return expose(self._registry)

    def collect(self) -> "Iterator[Metric]":
        """Each family once, with the samples of every model."""
        families: dict[str, Any] = {}
        for name, metrics in [("", self.unnamed), *sorted(self._named.items())]:
            for family in metrics.collect():
                if name or family.name in _OF_THE_SERVER:
                    samples, family.samples = family.samples, []
                    kept = families.setdefault(family.name, family)
                    kept.samples += [_labelled(sample, name) for sample in samples]
        yield from families.values()


def _labelled(sample: "Sample", name: str) -> "Sample":
    return sample._replace(labels={"model": name, **sample.labels}) if name else sample
