"""How many replicas the load asks for: one pure function, from what is known of one model to a number and its cause.

It knows no clock and no I/O, so that a decision can be replayed. `track.py` keeps what it needs (`Reading`, `Past`) and calls it; the
simulator and the benchmark drive a `Track`, whose docstring says how. What it asks for is bounded by `minReplicas` and `maxReplicas` alone:
other rooms bound it further.

    aim = targetConcurrency × targetUtilizationPercent        the load that one replica shall have

    up     ⌈mean of 60 s / aim⌉, at once.
    panic  the mean of 6 s is above what the replicas take (targetConcurrency each, at most twice the aim; while some that were ordered are
           still starting, twice the aim, since what piles up meanwhile is a backlog and no lasting load): ⌈mean of 6 s / aim⌉ at once, and
           nothing goes for 60 s from then on.
    down   to the most that was asked for within scaleDownSeconds, or within the time that this model's pods take to start, whichever is
           longer; only where the load leaves a tenth of the aim free, so that noise at a border moves nothing.
    zero   with minReplicas 0, when every pod has just said that nobody called for idleSeconds. A request that the activator holds brings
           the first replica back; how many more, the pod's load will tell: what waits for a start is a backlog.
    hold   while a pod that should say its load does not: nothing goes. One that is silent for two minutes counts as fully used. When none
           says anything for so long, fallbackReplicas run at least.

Windows as Knative's KPA has them (https://github.com/knative/serving/blob/main/docs/scaling/SYSTEM.md); what differs answers its users:
after a restart nothing goes before a whole window was seen (knative/serving#2705, #3771), leaving panic does not undo what it ordered
(#3153, #9121), and what starts slowly is not ordered again and again (#13284).
"""

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, inf
from typing import Final, NamedTuple

STABLE_WINDOW: Final = 60.0
PANIC_WINDOW: Final = 6.0
PANIC_RATIO: Final = 2.0
"""Times the aim that are too much for a replica."""
SLACK: Final = 0.9
"""Share of the aim that must suffice before a replica goes."""
LOOK: Final = 2.0
"""Seconds after which a mean that falls is looked at again."""
_EPSILON: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Settings:
    """What the spec says. Times in seconds."""

    minimum: int
    maximum: int
    target: float
    """Requests in flight and queued that one replica should have at most."""
    utilization: float = 0.7
    scale_down: float = 60.0
    idle: float = 600.0
    fallback: int = 0
    """Replicas that run at least when nobody has said the load for long."""

    @property
    def aim(self) -> float:
        """The load that one replica shall have."""
        return self.target * self.utilization

    @property
    def alarm(self) -> float:
        """The load of a replica that is too much even for a few seconds."""
        return min(self.target, PANIC_RATIO * self.aim)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of a model's load at one moment. Times in seconds."""

    stable: float = 0.0
    """Mean of the requests in flight and queued in all pods that speak, over `STABLE_WINDOW`, or as far back as was looked."""
    panic: float = 0.0
    """The same over `PANIC_WINDOW`."""
    observed: float = 0.0
    """For how long the load has been known without a gap."""
    serving: int = 0
    """Ready pods."""
    silent: int = 0
    """Those of them whose load is not known now."""
    lost: int = 0
    """Those of the silent that have been so for long."""
    idle: float = 0.0
    """For how long nobody had called when the pods spoke last."""
    is_fresh: bool = False
    """True when every pod has said its load just now."""
    held: int = 0
    """Requests that wait in the activator for a first pod."""
    startup: float = 0.0
    """How long pods of this model take from their creation until they are ready, as was seen; 0 where none was."""


@dataclass(frozen=True, slots=True)
class Past:
    """What the next decision must know of those before it."""

    wanted: int
    panic_until: float = -inf
    peaks: tuple[tuple[float, int], ...] = ()
    """When how many were asked for: times rise, numbers fall, so that the first is the most within the window."""


class Cause(StrEnum):
    """Why the number is what it is."""

    UNKNOWN = "Unknown"
    LOAD = "Load"
    PANIC = "Panic"
    IDLE = "Idle"
    WOKEN = "Woken"
    FALLBACK = "Fallback"


class Decision(NamedTuple):
    """The number, its cause, and what the next decision must know."""

    wanted: int
    cause: Cause
    past: Past
    asked: int
    """The number before `minimum` and `maximum`."""
    again: float
    """Seconds after which the same load can ask for another number, for want of an event; infinite where it cannot."""


def decide(settings: Settings, reading: Reading, past: Past, now: float) -> Decision:
    """Return how many replicas the load asks for at `now`, seconds on any clock that does not go backwards."""
    if reading.serving == 0 or reading.silent >= reading.serving:
        return _blind(settings, reading, past)
    panic_until = now + STABLE_WINDOW if _panics(settings, reading, past) else past.panic_until
    is_panic = now < panic_until
    if _is_idle(settings, reading, past):
        return Decision(0, Cause.IDLE, Past(0), 0, inf)
    asked, enough = _asked(settings, reading, is_panic=is_panic)
    window = max(settings.scale_down, reading.startup)
    peaks = _remember(past.peaks, now, enough, window)
    stays = is_panic or reading.silent > reading.lost or reading.observed < window
    lowest = past.wanted if stays else peaks[0][1]
    asked = max(asked, min(past.wanted, lowest))
    wanted = _clamp(settings, asked)
    cause = Cause.PANIC if is_panic else Cause.LOAD
    again = _again(settings, reading, wanted, (panic_until, peaks[0][0] + window), now)
    return Decision(wanted, cause, Past(wanted, panic_until, peaks), asked, again)


def _blind(settings: Settings, reading: Reading, past: Past) -> Decision:
    """Nobody says the load: what runs holds. A request that waits wakes the first replica."""
    cause, asked = Cause.UNKNOWN, past.wanted
    if reading.serving == 0 and reading.held and past.wanted == 0:
        cause, asked = Cause.WOKEN, 1
    elif reading.serving and reading.lost >= reading.serving and settings.fallback > past.wanted:
        cause, asked = Cause.FALLBACK, settings.fallback
    wanted = min(max(asked, settings.minimum), settings.maximum)
    return Decision(wanted, cause, Past(wanted, past.panic_until, past.peaks), asked, inf)


def _panics(settings: Settings, reading: Reading, past: Past) -> bool:
    ordered = max(past.wanted, 1)
    most = settings.alarm if reading.serving >= ordered else PANIC_RATIO * settings.aim
    return reading.panic > ordered * most + _EPSILON


def _is_idle(settings: Settings, reading: Reading, past: Past) -> bool:
    """The last replica goes on the pods' fresh word alone; once that is decided, it stands until somebody calls."""
    sure = reading.is_fresh or past.wanted == 0
    return sure and settings.minimum == 0 and not (reading.held or reading.silent) and reading.idle >= settings.idle


def _asked(settings: Settings, reading: Reading, *, is_panic: bool) -> tuple[int, int]:
    """Return the replicas that the load asks for, and those with which it would leave some free. Who is lost counts as fully used."""
    load = max(reading.stable, reading.panic) if is_panic else reading.stable
    asked = _needed(load, settings.aim) + reading.lost
    return asked, max(asked, _needed(reading.stable, settings.aim * SLACK) + reading.lost, 1)


def _needed(load: float, aim: float) -> int:
    return ceil(load / aim - _EPSILON)


def _remember(
    peaks: tuple[tuple[float, int], ...], now: float, number: int, window: float
) -> tuple[tuple[float, int], ...]:
    """Add a number; what is older than the window, or not more than the new one, does not matter any more."""
    kept = tuple(peak for peak in peaks if peak[1] > number and peak[0] > now - window)
    return (*kept, (now, number))


def _clamp(settings: Settings, number: int) -> int:
    return min(max(number, settings.minimum, 1), settings.maximum)


def _again(settings: Settings, reading: Reading, wanted: int, until: tuple[float, ...], now: float) -> float:
    """When time alone can bring the number down: a mean falls, a panic ends, a peak is forgotten."""
    if wanted <= max(settings.minimum, 1):
        return inf
    if reading.stable > _EPSILON:
        return LOOK
    return max(min((moment - now for moment in until if moment > now), default=LOOK), 0.05)
