"""Asks the operator's own autoscaler about the pods of the world: it looks at them when the sampler would, and passes on what they say.

    world ──▶ one voice a pod (its part of the load, its integral) ──▶ autoscaler.Track ──▶ how many are wanted
                  ▲ after ask.wait seconds, at once when ask.above is reached (the push), when a pod turns ready, when a request is held

The world keeps one queue for all pods, so each says the same part of it. Called by `replay.py`.
"""

from math import inf

from modelward_operator.api.scaling import Autoscaler, Scaling
from modelward_operator.autoscaler.decide import Settings
from modelward_operator.autoscaler.load import Load
from modelward_operator.autoscaler.track import Track
from modelward_operator.simulation.world import World


class Pilot:
    """Autoscaler Concurrency."""

    def __init__(self, scaling: Scaling, first: int) -> None:
        settings = Settings(
            minimum=scaling.minimum,
            maximum=scaling.maximum,
            target=scaling.target,
            utilization=scaling.utilization,
            scale_down=float(scaling.scale_down),
            idle=float(scaling.idle),
        )
        self._track = Track(settings, wanted=first)
        self._busy: dict[str, float] = {}
        self._seen = 0.0
        self._held = 0
        self.wanted = first
        self.due = 0.0
        """When the pods are looked at next, for want of an event."""
        self.push = inf
        """The concurrency at which they are looked at before."""

    def hears(self, world: World) -> bool:
        """True when something calls for a look at once."""
        return bool(world.opened) or world.concurrency >= self.push or (world.held > 0) != (self._held > 0)

    def look(self, world: World) -> int:
        """Look at every pod and decide. Returns how many replicas the load asks for."""
        for pod in world.opened:
            self._track.start(pod.ready_at - pod.born)
        world.opened.clear()
        self._share(world)
        serving = world.serving()
        if serving != list(self._busy):
            self._track.meet(serving, world.now)
            self._busy = {name: self._busy.get(name, 0.0) for name in serving}
        for name in serving:
            self._track.hear(name, self._load(world, name), world.now)
        self._held = world.held
        self._track.hold(world.held, 0, world.now)
        decision = self._track.decide(world.now)
        asks = [self._track.ask(name, world.now) for name in serving]
        self.due = world.now + min([decision.again, *(ask.wait for ask in asks)])
        self.push = min((ask.above for ask in asks), default=inf) * len(serving) if asks else inf
        self.wanted = decision.wanted
        return decision.wanted

    def _share(self, world: World) -> None:
        """Divide what was done since the last look among the pods that were there."""
        done, self._seen = world.busy_seconds - self._seen, world.busy_seconds
        for name in self._busy:
            self._busy[name] += done / len(self._busy)

    def _load(self, world: World, name: str) -> Load:
        idle = 0.0 if world.concurrency else world.now - world.last_end
        return Load(world.now, world.concurrency / world.ready, self._busy[name], len(world.tally.latencies), idle)


class Fixed:
    """Autoscaler None: a number, whatever comes."""

    push = inf
    due = inf

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted

    def hears(self, world: World) -> bool:
        """Never; what pods say is forgotten."""
        world.opened.clear()
        return False

    def look(self, _world: World) -> int:
        """Return the number."""
        return self.wanted


def pilot_of(scaling: Scaling) -> Pilot | Fixed:
    """Return what decides for this spec. A new model starts with one replica at least."""
    if scaling.chosen is Autoscaler.CONCURRENCY:
        return Pilot(scaling, max(scaling.minimum, 1))
    return Fixed(1 if scaling.replicas is None else scaling.replicas)
