"""Why so many replicas, in words for `status.scaling`. Called by `autoscaler.py` when the number changes, never for each decision."""

from typing import assert_never

from modelward_operator.autoscaler.decide import PANIC_WINDOW, STABLE_WINDOW, Cause, Decision, Reading, Settings
from modelward_operator.autoscaler.track import PATIENCE

STANDING = "the number that stood when the load was not known yet"


def explain(settings: Settings, reading: Reading, decision: Decision) -> str:
    """Return one sentence without a full stop."""
    match decision.cause:
        case Cause.LOAD:
            return (
                f"{_load(settings, reading.stable, min(STABLE_WINDOW, reading.observed))}{_bound(settings, decision)}"
            )
        case Cause.PANIC:
            return f"{_load(settings, reading.panic, min(PANIC_WINDOW, reading.observed))}{_bound(settings, decision)}"
        case Cause.IDLE:
            return f"nobody has called for {reading.idle:.0f} s, and idleSeconds is {settings.idle:.0f}"
        case Cause.WOKEN:
            return f"{reading.held} {'request waits' if reading.held == 1 else 'requests wait'} for a first replica"
        case Cause.FALLBACK:
            return f"no pod has said its load for {PATIENCE:.0f} s: fallbackReplicas"
        case Cause.UNKNOWN:
            return STANDING
        case _ as never:
            assert_never(never)


def _load(settings: Settings, load: float, seconds: float) -> str:
    return f"{load:.1f} requests at a time over {max(seconds, 1.0):.0f} s, {settings.aim:.4g} aimed at for each replica"


def _bound(settings: Settings, decision: Decision) -> str:
    if decision.asked > decision.wanted == settings.maximum:
        return f": {decision.asked} replicas, of which maxReplicas allows {settings.maximum}"
    if decision.asked < decision.wanted == settings.minimum:
        return f": {decision.asked}, below minReplicas"
    return ""
