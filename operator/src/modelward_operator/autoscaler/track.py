"""What is remembered of one model's load: what each of its pods said last, who is silent, what was decided. Pure: times are arguments.

How to drive it, as `sampler.py`, the simulator and the benchmark do:

    track = Track(Settings(minimum=0, maximum=8, target=8.0), wanted=1)
    track.meet({"pod-a"}, now)                      # whenever the set of ready pods is another one
    ask = track.ask("pod-a", now)                   # what to ask the pod next; its answer is due after ask.wait seconds
    track.hear("pod-a", Load(…), now)               # its answer; in a simulation: concurrency, and its integral, every second or so
    track.start(12.5)                               # a pod has become ready, so many seconds after it was made
    track.hold(held, forwarding, now)               # what the activators have of this model, whenever it changes
    decision = track.decide(now)                    # at once after a push, otherwise whenever something was heard, and after decision.again

`now` is in seconds on any clock; when it goes backwards, time stands still. The same calls give the same decisions.
"""

from collections import deque
from collections.abc import Collection
from math import inf
from typing import Final

from modelward_operator.autoscaler.decide import (
    PANIC_WINDOW,
    STABLE_WINDOW,
    Decision,
    Past,
    Reading,
    Settings,
    decide,
)
from modelward_operator.autoscaler.load import MOST_REQUESTS, Ask, Load
from modelward_operator.autoscaler.window import Window

GRACE: Final = 3.0
"""Seconds after which an answer that was due is missing."""
PATIENCE: Final = 120.0
"""Seconds of silence after which a pod counts as lost."""
FRESH: Final = 5.0
"""Seconds for which a pod that said that nobody calls is believed when the last replica shall go."""
SHORTEST: Final = 2.0
"""Seconds over which a mean is taken at least: what began just now is no mean."""
IDLE_WAIT: Final = 60.0
BUSY_WAIT: Final = 2.0
HOT_WAIT: Final = 0.5
"""Seconds that a pod without requests, one with some, and one with too many is let be at most."""
STARTS: Final = 8
"""Starts that are remembered; the slowest counts."""


class _Voice:
    """What one pod said last."""

    __slots__ = ("busy", "due", "idle_since", "is_idle", "level", "mean", "now", "requests", "said_at")

    def __init__(self, now: float) -> None:
        self.said_at = -inf
        self.due = now + GRACE
        self.level = self.mean = self.now = self.busy = self.requests = 0.0
        self.is_idle = False
        self.idle_since = now

    def is_silent(self, now: float) -> bool:
        return self.said_at == -inf or now > self.due

    def tail(self, now: float, seconds: float) -> float:
        """Request-seconds since its last word, taken to be as then, of the last `seconds`."""
        return self.level * min(now - self.said_at, seconds) if self.level else 0.0


class Track:
    """One model. See the module's docstring for how to drive it."""

    __slots__ = (
        "_held",
        "_last",
        "_past",
        "_since",
        "_starts",
        "_touched",
        "_voices",
        "_window",
        "last_reading",
        "settings",
    )

    def __init__(self, settings: Settings, wanted: int) -> None:
        self.settings = settings
        self.last_reading = Reading()
        """What the last decision was made of."""
        self._past = Past(wanted)
        self._voices: dict[str, _Voice] = {}
        self._window = Window()
        self._since = inf
        self._starts: deque[float] = deque(maxlen=STARTS)
        self._held = 0
        self._touched = -inf
        self._last = -inf

    @property
    def wanted(self) -> int:
        """The number that stands."""
        return self._past.wanted

    @property
    def startup(self) -> float:
        """Seconds that pods of this model take to be ready, as was seen; 0 where none was."""
        return max(self._starts, default=0.0)

    def meet(self, pods: Collection[str], now: float) -> None:
        """Take the pods that are ready now. What those that left have done stays in the mean."""
        now = self._at(now)
        for name in [name for name in self._voices if name not in pods]:
            voice = self._voices.pop(name)
            if voice.said_at != -inf:
                self._window.add(voice.said_at, min(now, voice.due), voice.level)
        for name in pods:
            if name not in self._voices:
                self._voices[name] = _Voice(now)

    def start(self, seconds: float) -> None:
        """A pod became ready so many seconds after it was made."""
        self._starts.append(seconds)

    def hold(self, held: int, forwarding: int, now: float) -> None:
        """Take what the activators have: requests that wait for a pod, and such as are being passed on, which their pods count."""
        self._held = held
        if held or forwarding:
            self._touched = self._at(now)

    def ask(self, pod: str, now: float, busy_wait: float = BUSY_WAIT) -> Ask:
        """Return what to ask a pod next, and expect the answer. `busy_wait` is how long one with requests is let be."""
        now, voice = self._at(now), self._voices[pod]
        if voice.is_silent(now):
            return Ask(1, 0.0)  # and it stays silent until it speaks, however often it is asked
        load = max(voice.level, voice.mean)
        if voice.is_idle:
            ask = Ask(1, self._idle_wait(now))
        elif load > self.settings.alarm and self.wanted < self.settings.maximum:
            is_peak = (
                voice.mean <= self.settings.alarm
            )  # a word that came early says the peak: what follows is asked for soon
            ask = Ask(int(4 * load) + 1, HOT_WAIT if is_peak else HOT_WAIT * busy_wait / BUSY_WAIT)
        else:
            ask = Ask(int(max(self.settings.alarm, load)) + 1, busy_wait)
        voice.due = now + ask.wait + GRACE
        return ask

    def hear(self, pod: str, load: Load, now: float) -> None:
        """Take a pod's answer. What it did since the last one is the difference of the integrals; of a new process, what it does now."""
        voice = self._voices.get(pod)
        if voice is None:
            return
        now = self._at(now)
        if self._since == inf or all(other.is_silent(now) for other in self._voices.values()):
            self._since = now
            self._window.clear()
        passed, done = load.now - voice.now, load.busy - voice.busy
        if voice.said_at != -inf:
            known = passed > 0 and done >= 0
            voice.mean = min(done / passed, MOST_REQUESTS) if known else load.concurrency
            self._window.add(max(voice.said_at, self._since), now, voice.mean)
            voice.is_idle = not load.concurrency and not done and load.requests == voice.requests
        voice.now, voice.busy, voice.requests, voice.level = load.now, load.busy, load.requests, load.concurrency
        voice.idle_since = now if load.concurrency else now - load.idle
        voice.said_at, voice.due = now, now + GRACE

    def reading(self, now: float) -> Reading:
        """Return what is known at `now`."""
        now = self._at(now)
        voices = self._voices.values()
        speaking = [voice for voice in voices if not voice.is_silent(now)]
        silent = [voice for voice in voices if voice.is_silent(now)]
        lost = sum(now > voice.due + PATIENCE for voice in silent)
        if not speaking:
            self._since = (
                inf if lost == len(silent) else self._since
            )  # what was seen before a long silence says nothing
        return Reading(
            stable=self._mean(speaking, silent, STABLE_WINDOW, now),
            panic=self._mean(speaking, silent, PANIC_WINDOW, now),
            observed=max(now - self._since, 0.0),
            serving=len(voices),
            silent=len(silent),
            lost=lost,
            idle=self._idle(),
            is_fresh=all(now - voice.said_at <= FRESH for voice in voices),
            held=self._held,
            startup=self.startup,
        )

    def decide(self, now: float) -> Decision:
        """Decide anew, and remember it."""
        now = self._at(now)
        self.last_reading = self.reading(now)
        decision = decide(self.settings, self.last_reading, self._past, now)
        self._past = decision.past
        return decision

    def _mean(self, speaking: list[_Voice], silent: list[_Voice], seconds: float, now: float) -> float:
        """Who is silent is taken to do what it did last, until it counts as lost."""
        if self._since == inf:
            return 0.0
        span = min(seconds, max(now - self._since, SHORTEST))
        tails = [*speaking, *(voice for voice in silent if now <= voice.due + PATIENCE)]
        return (self._window.busy(now - span, now) + sum(voice.tail(now, span) for voice in tails)) / span

    def _idle(self) -> float:
        """For how long nobody had called when the pod that spoke first of their last words spoke."""
        oldest = min((voice.said_at for voice in self._voices.values()), default=-inf)
        return max(oldest - self._last_call(), 0.0) if oldest != -inf else 0.0

    def _last_call(self) -> float:
        """When somebody called last, as far as is known: the newest of what the pods and the activators say."""
        return max([self._touched, *(voice.idle_since for voice in self._voices.values())])

    def _idle_wait(self, now: float) -> float:
        """How long a pod without requests is let be: where the last replica may go, until all have been idle long enough."""
        if self.settings.minimum or not self.wanted:
            return IDLE_WAIT
        left = self._last_call() + self.settings.idle - now
        return min(left + 0.05, IDLE_WAIT) if left > 0 else FRESH / 2

    def _at(self, now: float) -> float:
        self._last = max(self._last, now)
        return self._last
