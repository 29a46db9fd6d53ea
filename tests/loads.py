"""Drives a `Track` as the sampler does, against pods that exist only as numbers: for tests and for the benchmark of decisions."""

from collections.abc import Callable

from modelward_operator.autoscaler.decide import Decision
from modelward_operator.autoscaler.load import Load
from modelward_operator.autoscaler.track import Track

STEP = 0.5


class Pods:
    """The pods of one model: they become ready `startup` seconds after they were asked for, and share the load evenly."""

    def __init__(
        self, track: Track, load: Callable[[float], float], *, startup: float = 0.0, begin: float = 1000.0
    ) -> None:
        self.track, self.load, self.startup, self.begin = track, load, startup, begin
        self.time = 0.0
        self.numbers: list[tuple[float, int]] = []
        """Each change: when, and to what."""
        self.decision: Decision | None = None
        self.mute: set[str] = set()
        """Pods that do not answer."""
        self._ordered: list[float] = [-startup] * track.wanted
        self._busy: dict[str, float] = {}
        self._requests: dict[str, float] = {}
        self._called: dict[str, float] = {}

    @property
    def now(self) -> float:
        return self.begin + self.time

    @property
    def ready(self) -> list[str]:
        """Pods by name; the oldest go last."""
        return [f"pod-{n}" for n, ordered in enumerate(self._ordered) if self.time - ordered >= self.startup]

    def run(self, seconds: float) -> list[tuple[float, int]]:
        """Let time pass; return all changes of the number so far."""
        for _ in range(round(seconds / STEP)):
            self.step()
        return self.numbers

    def step(self) -> None:
        """Half a second: requests come, pods answer, the number is decided, pods come and go."""
        level = self.load(self.time)
        self.time += STEP
        ready = self.ready
        self.track.meet(ready, self.now)
        for name in ready:
            share = level / len(ready)
            self._busy[name] = self._busy.get(name, 0.0) + share * STEP
            self._requests[name] = self._requests.get(name, 0.0) + share
            self._called[name] = self.time if share else self._called.get(name, self.time)
            if name not in self.mute:
                self.track.hear(name, self._told(name, share), self.now)
                self.track.ask(name, self.now)
        before = self.track.wanted
        self.decision = self.track.decide(self.now)
        if self.decision.wanted != before:
            self.numbers.append((self.time, self.decision.wanted))
        self._ordered = [*self._ordered, *[self.time] * (self.track.wanted - len(self._ordered))][: self.track.wanted]

    def _told(self, name: str, share: float) -> Load:
        return Load(self.time, share, self._busy[name], self._requests[name], self.time - self._called[name])
