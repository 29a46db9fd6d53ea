"""The built-in autoscaler of all models: their tracks, the demand that each pass reads, and the loop that decides. No I/O of its own.

`cluster/gather.py` shows it every pass of a model (`meet`) and takes the demand along; `sampler.py` brings what pods say; whoever listens
to the activators calls `note_activator`. When the number of a model changes, `ring` puts its key on the queue, and the next pass applies
it. It runs only while the process leads, since only then there are passes. All of it can be forgotten: after a restart the number that
`status.scaling` says, or the live one, holds until the load has been seen for long enough.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import inf
from typing import Final

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.scaling import Autoscaler as Chosen
from modelward_operator.autoscaler.decide import Cause, Settings
from modelward_operator.autoscaler.explain import STANDING, explain
from modelward_operator.autoscaler.pods import serving, startup_seconds
from modelward_operator.autoscaler.sampler import Follow
from modelward_operator.autoscaler.track import Track
from modelward_operator.facts import Demand, Given, Key
from modelward_operator.metrics import Metrics
from modelward_operator.policies.autoscaling.standing import held_replicas

TICK: Final = 0.25
"""Seconds between two decisions about one model at least, however much is heard of it."""

logger = logging.getLogger("modelward_operator")


@dataclass(slots=True)
class _Model:
    """One model under the built-in autoscaler."""

    track: Track
    demand: Demand
    started: set[str] = field(default_factory=set)
    """Pods whose start has been measured."""
    woken_at: float = inf
    cause: Cause = Cause.UNKNOWN
    """Of the number that stands; not known of one that an operator before this one decided."""


class Autoscaler:
    """Every model whose autoscaler is Concurrency. `clock` gives monotonic seconds, `now` the time of day."""

    def __init__(
        self,
        follow: Follow,
        ring: Callable[[Key], None],
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._follow, self._ring, self._metrics, self._clock, self._now = follow, ring, metrics, clock, now
        self._models: dict[Key, _Model] = {}
        self._activators: dict[Key, tuple[int, int]] = {}
        self._heard: set[Key] = set()
        self._due: dict[Key, float] = {}
        self._wake = asyncio.Event()

    def meet(self, given: Given, spec: ModelDeploymentSpec) -> Demand | None:
        """Take what a pass knows of a model, and return what the load asks for; None where the autoscaler is another one."""
        key = given.key
        if spec.scaling.chosen is not Chosen.CONCURRENCY:
            self._leave(key)
            return None
        model = self._models.get(key)
        if model is None:
            model = self._models[key] = self._begin(given, spec)
        model.track.settings = settings_of(spec)
        addresses, now = serving(given.pods), self._clock()
        model.track.meet(addresses, now)
        model.started &= addresses.keys()
        for name, pod in addresses.items():
            if name not in model.started and (seconds := startup_seconds(pod.raw, pod.report)):
                model.track.start(seconds)
                model.started.add(name)
        if addresses and model.woken_at != inf:
            self._metrics.cold_starts.observe(now - model.woken_at)
            model.woken_at = inf
        self._follow(
            key, model.track, {name: pod.raw["status"]["podIP"] for name, pod in addresses.items()}, self.heard
        )
        self._decide(key, model)  # this pass applies it
        return model.demand

    def forget(self, key: Key) -> None:
        """A model is gone."""
        self._activators.pop(key, None)
        self._leave(key)

    def called(self, key: Key) -> int:
        """Return how many requests the activators have of a model now, whoever its autoscaler is."""
        return sum(self._activators.get(key, ()))

    def _leave(self, key: Key) -> None:
        """Decide no more about a model."""
        self._due.pop(key, None)
        if model := self._models.pop(key, None):
            self._follow(key, model.track, {}, self.heard)
            self._metrics.forget_replicas(key.namespace, key.name)

    def heard(self, key: Key) -> None:
        """A pod of a model has answered, or has not: decide with the next tick."""
        self._heard.add(key)

    def note_activator(self, key: Key, held: int, forwarding: int) -> None:
        """Take what all activators together have of a model now: requests that wait for a first pod, and such as are being passed on.

        To be called whenever either changes, zero included. A request that waits at zero replicas wakes the model with the next turn of
        the loop; how often a model is woken that may not serve is up to the rooms: what is denied stays at zero.
        """
        self._activators[key] = (held, forwarding)
        if not (held or forwarding):
            del self._activators[key]
        if model := self._models.get(key):
            model.track.hold(held, forwarding, self._clock())
            self._heard.add(key)
            self._wake.set()

    async def run(self) -> None:
        """Decide, for ever: at once about who is woken, otherwise a tick after something was heard, and when the time has come."""
        while True:
            self._wake.clear()
            now = self._clock()
            due = [key for key, moment in self._due.items() if moment <= now]
            heard, self._heard = self._heard, set()
            for key in {*heard, *due}:
                self._look_at(key)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TICK)

    def _look_at(self, key: Key) -> None:
        """Decide about one model; what goes wrong with it is no other model's harm."""
        try:
            if (model := self._models.get(key)) and self._decide(key, model):
                self._ring(key)
        except Exception:
            self._due.pop(key, None)
            self._metrics.errors.labels("autoscaler").inc()
            logger.exception("no decision", extra={"model": str(key)})

    def wanted(self) -> Mapping[Key, tuple[int, str]]:
        """Return the number of each model and its cause, for the metrics."""
        return {key: (model.demand.wanted, model.cause) for key, model in self._models.items()}

    def _begin(self, given: Given, spec: ModelDeploymentSpec) -> _Model:
        """Go on from what the status says of the last decision, else from the live number; a new model has one.

        Zero that is not live yet is decided anew: whether somebody calls the pods by now, nobody has asked.
        """
        told = given.raw.get("status", {}).get("scaling", {})
        stood, why, since = told.get("wanted"), told.get("why", STANDING), told.get("since")
        live = given.child("Deployment", given.key.name)
        if stood is None or (stood == 0 and live and held_replicas(live)):
            stood, why, since = held_replicas(live), STANDING, None
        stood = min(max(stood, spec.scaling.minimum), spec.scaling.maximum)
        track = Track(settings_of(spec), stood)
        track.hold(*self._activators.get(given.key, (0, 0)), self._clock())
        return _Model(track, Demand(stood, why, datetime.fromisoformat(since) if since else self._now()))

    def _decide(self, key: Key, model: _Model) -> bool:
        """Decide anew; say whether a pass would find another demand than before."""
        now, before = self._clock(), model.demand
        decision, reading = model.track.decide(now), model.track.last_reading
        self._due[key] = now + decision.again
        if decision.again == inf:
            del self._due[key]
        if decision.wanted != before.wanted:
            self._count(key, before.wanted, decision.wanted)
            model.woken_at = inf if before.wanted else now
            why, model.cause = explain(model.track.settings, reading, decision), decision.cause
            model.demand = Demand(decision.wanted, why, self._now(), reading.lost)
        elif reading.lost != before.lost:
            model.demand = replace(before, lost=reading.lost)
        return model.demand is not before

    def _count(self, key: Key, before: int, after: int) -> None:
        self._metrics.decisions.labels(key.namespace, key.name, "up" if after > before else "down").inc()


def settings_of(spec: ModelDeploymentSpec) -> Settings:
    """Return what the spec says to the autoscaler Concurrency."""
    it = spec.scaling
    return Settings(
        minimum=it.minimum,
        maximum=it.maximum,
        target=it.target,
        utilization=it.utilization,
        scale_down=float(it.scale_down),
        idle=float(it.idle),
        fallback=it.fallback_replicas or 0,
    )
