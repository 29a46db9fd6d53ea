"""The pods and the queue before them, on paper: it says what happens to each request, and decides nothing.

    arrive ─┬─ a place is free ──▶ a pod works on it ──▶ answered
            ├─ none is ──▶ one queue before all pods, in order of arrival (full: refused with 429)
            └─ no pod is ready ──▶ held by the activator (too many: 429; too long: 503), failed where there is none, denied where
                                   the model may not wake

Pods:  want more ──▶ starting ──(start seconds)──▶ ready ──want fewer──▶ leaving ──(its last request)──▶ gone

A replica works on `parallel` requests at once. What is simpler than the truth: one queue stands before all pods, as if load
were balanced perfectly; pods never fail; every start takes the same time. A pod costs from the moment it is wanted until it is gone.
Time is in seconds since the trace's start. Called by `replay.py`.
"""

import heapq
from array import array
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

NEVER: Final = float("inf")


class Fate(Enum):
    """What becomes of a request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """429: the queue before the pods, or the activator's, was full."""
    EXPIRED = "expired"
    """503: the activator held it for as long as it may."""
    FAILED = "failed"
    """503: no pod was ready, and nothing stood in for it."""
    DENIED = "denied"
    """503: no pod was ready, and the budget lets none wake."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What does not change while a trace is replayed."""

    parallel: int = 1
    """Requests that one replica works on at once."""
    start_seconds: float = 30.0
    """From the moment that a pod is wanted until it is ready."""
    queue: int = 1024
    """Requests that may wait for one ready replica, as `max_queue` in the runtime."""
    hold_seconds: float = 60.0
    max_held: int = 100
    activates: bool = False
    """True where an activator holds requests while no pod is ready."""


@dataclass(slots=True)
class Pod:
    """One replica."""

    name: str
    born: float
    ready_at: float
    working: int = 0
    is_leaving: bool = False
    gone_at: float = NEVER


@dataclass(slots=True)
class Tally:
    """What has happened so far."""

    arrived: int = 0
    fates: dict[Fate, int] = field(default_factory=lambda: dict.fromkeys(Fate, 0))
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    """Seconds from arrival to answer, in order of answers."""
    held: int = 0
    """Requests that the activator held, whatever became of them."""
    cold_starts: "array[float]" = field(default_factory=lambda: array("d"))
    """For each waking from zero: seconds from the first request that was held until a pod was ready."""
    pod_seconds: float = 0.0
    """Of the pods that are gone."""
    work_seconds: float = 0.0
    """Of places that were busy, also of work that is not done yet."""


class World:
    """The state at `now`. Callers advance time before they change anything; time never runs backwards."""

    def __init__(self, shape: Shape, replicas: int) -> None:
        self.shape = shape
        self.now = 0.0
        self.tally = Tally()
        self.pods: list[Pod] = []
        """All that exist, the oldest first."""
        self.opened: list[Pod] = []
        """Pods that turned ready since somebody last emptied this list."""
        self.gone: list[Pod] = []
        """Pods that ended since somebody last emptied this list."""
        self.may_wake = True
        self.peak = 0
        """Pods at most that were not leaving."""
        self.last_end = 0.0
        """When the last request was answered."""
        self.busy_seconds = 0.0
        """The integral of the concurrency over time, as the runtime's `GET /load` has it."""
        self._queue: deque[tuple[float, float]] = deque()
        self._held: deque[tuple[float, float]] = deque()
        self._free: list[Pod] = []
        self._events: list[tuple[float, int, Pod, float]] = []
        self._working = 0
        self._made = 0
        self._ready = 0
        for _ in range(replicas):
            pod = self._make(ready_at=0.0)
            self._open(pod)

    @property
    def concurrency(self) -> int:
        """Requests in flight and queued at the pods."""
        return self._working + len(self._queue)

    @property
    def held(self) -> int:
        """Requests that wait at the activator."""
        return len(self._held)

    @property
    def ready(self) -> int:
        """How many pods take requests."""
        return self._ready

    def serving(self) -> list[str]:
        """The names of the pods that take requests."""
        return [pod.name for pod in self.pods if pod.ready_at <= self.now and not pod.is_leaving]

    @property
    def wanted(self) -> int:
        """Pods that are ready or on the way there."""
        return sum(not pod.is_leaving for pod in self.pods)

    @property
    def next_event(self) -> float:
        """When something happens by itself."""
        expiry = self._held[0][0] + self.shape.hold_seconds if self._held else NEVER
        return min(self._events[0][0] if self._events else NEVER, expiry)

    def advance(self, to: float) -> None:
        """Let everything happen that happens by itself until then."""
        while (at := self.next_event) <= to:
            self._pass(at)
            if self._events and self._events[0][0] <= at:
                _, _, pod, arrived = heapq.heappop(self._events)
                self._happen(pod, arrived)
            else:
                self._held.popleft()
                self._end(Fate.EXPIRED)
        self._pass(to)

    def arrive(self, service: float) -> None:
        """A request comes now."""
        self.tally.arrived += 1
        if not self._ready:
            self._knock(service)
        elif pod := self._place():
            self._work(pod, self.now, service)
        elif len(self._queue) < self.shape.queue * self._ready:
            self._queue.append((self.now, service))
        else:
            self._end(Fate.REFUSED)

    def scale(self, wanted: int) -> None:
        """Have so many pods from now on. The youngest go first, so that none that is ready goes before one that starts."""
        staying = [pod for pod in self.pods if not pod.is_leaving]
        for _ in range(wanted - len(staying)):
            self._make(ready_at=self.now + self.shape.start_seconds)
        for pod in staying[wanted:]:
            pod.is_leaving = True
            if pod.ready_at <= self.now:
                self._ready -= 1
            if not pod.working:
                self._bury(pod)
        if not self._ready:
            self._leave_behind()

    def deny(self) -> None:
        """No pod may wake from now on: who waits for one is told so."""
        self.may_wake = False
        while self._held:
            self._held.popleft()
            self._end(Fate.DENIED)

    def pod_seconds(self) -> float:
        """Seconds that pods have existed until now, all of them together."""
        return self.tally.pod_seconds + sum(self.now - pod.born for pod in self.pods)

    def _pass(self, to: float) -> None:
        self.busy_seconds += self.concurrency * (to - self.now)
        self.now = to

    def _make(self, ready_at: float) -> Pod:
        self._made += 1
        pod = Pod(f"pod-{self._made}", self.now, ready_at)
        self.pods.append(pod)
        self.peak = max(self.peak, self.wanted)
        if ready_at > self.now:
            heapq.heappush(self._events, (ready_at, self._made, pod, -1.0))
        return pod

    def _happen(self, pod: Pod, arrived: float) -> None:
        if arrived < 0:
            if not pod.is_leaving:
                self._open(pod)
            return
        self._working -= 1
        pod.working -= 1
        self.tally.latencies.append(self.now - arrived)
        self.last_end = self.now
        self._end(Fate.ANSWERED)
        if not pod.is_leaving:
            self._offer(pod)
        elif not pod.working:
            self._bury(pod)

    def _open(self, pod: Pod) -> None:
        """A pod turns ready: what was held comes first."""
        self._ready += 1
        self.opened.append(pod)
        if self._held:
            self.tally.cold_starts.append(self.now - self._held[0][0])
            self._queue.extend(self._held)
            self._held.clear()
        for _ in range(self.shape.parallel):
            self._offer(pod)

    def _offer(self, pod: Pod) -> None:
        """One place of a pod is free: the next in the queue takes it, or it waits for one."""
        if self._queue:
            arrived, service = self._queue.popleft()
            self._work(pod, arrived, service)
        else:
            self._free.append(pod)

    def _place(self) -> Pod | None:
        while self._free:
            pod = self._free.pop()
            if not pod.is_leaving:
                return pod
        return None

    def _work(self, pod: Pod, arrived: float, service: float) -> None:
        self._working += 1
        pod.working += 1
        self.tally.work_seconds += service
        self._made += 1
        heapq.heappush(self._events, (self.now + service, self._made, pod, arrived))

    def _knock(self, service: float) -> None:
        """No pod is ready."""
        if not self.may_wake:
            self._end(Fate.DENIED)
        elif not self.shape.activates:
            self._end(Fate.FAILED)
        elif len(self._held) >= self.shape.max_held:
            self._end(Fate.REFUSED)
        else:
            self.tally.held += 1
            self._held.append((self.now, service))

    def _leave_behind(self) -> None:
        """The last ready pod goes: it takes along what it works on, and what waited for it loses its place."""
        while self._queue:
            self._queue.popleft()
            self._end(Fate.FAILED)

    def _bury(self, pod: Pod) -> None:
        pod.gone_at = self.now
        self.pods.remove(pod)
        self.gone.append(pod)
        self.tally.pod_seconds += self.now - pod.born

    def _end(self, fate: Fate) -> None:
        self.tally.fates[fate] += 1
