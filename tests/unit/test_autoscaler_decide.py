"""The decision alone: from what is known to a number and its cause."""

from dataclasses import replace
from math import inf

import pytest

from modelward_operator.autoscaler.decide import Cause, Past, Reading, Settings, decide
from modelward_operator.autoscaler.explain import explain

NOW = 1000.0
S = Settings(minimum=1, maximum=10, target=10.0, utilization=0.7)
ZERO = replace(S, minimum=0, idle=600.0)
SEEN = Reading(observed=300.0, serving=4, is_fresh=True)

CASES: list[tuple[str, Settings, Reading, int, int, Cause]] = [
    ("as many as the load needs", S, replace(SEEN, stable=28.0, panic=28.0), 4, 4, Cause.LOAD),
    ("one more as soon as it is more", S, replace(SEEN, stable=28.1, panic=28.1), 4, 5, Cause.LOAD),
    ("fewer when it is clearly less", S, replace(SEEN, stable=12.0, panic=12.0), 4, 2, Cause.LOAD),
    ("not fewer at the border", S, replace(SEEN, stable=13.5, panic=13.5), 3, 3, Cause.LOAD),
    ("never above maxReplicas", S, replace(SEEN, stable=900.0, panic=900.0), 4, 10, Cause.PANIC),
    ("never below minReplicas", replace(S, minimum=3), SEEN, 4, 3, Cause.LOAD),
    ("a burst counts before the mean of a minute tells", S, replace(SEEN, stable=10.0, panic=60.0), 4, 9, Cause.PANIC),
    ("a peak that the replicas can take is none", S, replace(SEEN, stable=20.0, panic=39.0), 4, 4, Cause.LOAD),
    ("in a panic nothing goes", S, replace(SEEN, stable=1.0, panic=41.0), 4, 6, Cause.PANIC),
    (
        "what piles up while pods start is no panic of its own",
        S,
        replace(SEEN, serving=1, stable=20.0, panic=55.0),
        4,
        4,
        Cause.LOAD,
    ),
    ("one pod in silence holds what runs", S, replace(SEEN, silent=1, stable=1.0), 4, 4, Cause.LOAD),
    ("one pod in silence does not keep more from coming", S, replace(SEEN, silent=1, stable=40.0, panic=30.0), 4, 6, Cause.LOAD),
    ("who is lost counts as fully used", S, replace(SEEN, silent=1, lost=1, stable=6.0), 4, 2, Cause.LOAD),
    ("all silent: what runs holds", S, replace(SEEN, silent=4), 4, 4, Cause.UNKNOWN),
    ("all lost: what runs holds", S, replace(SEEN, silent=4, lost=4), 4, 4, Cause.UNKNOWN),
    ("all lost: the fallback", replace(S, fallback=6), replace(SEEN, silent=4, lost=4), 4, 6, Cause.FALLBACK),
    ("all silent for a moment: no fallback yet", replace(S, fallback=6), replace(SEEN, silent=4, lost=3), 4, 4, Cause.UNKNOWN),
    ("the fallback takes nothing away", replace(S, fallback=2), replace(SEEN, silent=4, lost=4), 4, 4, Cause.UNKNOWN),
    ("no pod is ready: what was ordered holds", S, Reading(), 4, 4, Cause.UNKNOWN),
    ("no pod is ready at new bounds: within them", replace(S, maximum=2), Reading(), 4, 2, Cause.UNKNOWN),
    ("seen for too short a time", S, replace(SEEN, observed=59.0), 4, 4, Cause.LOAD),
    ("seen for too short a time for one that starts slowly", S, replace(SEEN, startup=400.0), 4, 4, Cause.LOAD),
    ("nobody called for long", ZERO, replace(SEEN, serving=1, idle=600.0), 1, 0, Cause.IDLE),
    ("nobody called for long, of several", ZERO, replace(SEEN, idle=600.0), 4, 0, Cause.IDLE),
    ("nobody called for a while", ZERO, replace(SEEN, serving=1, idle=599.0), 1, 1, Cause.LOAD),
    ("nobody called, with a lowest number", S, replace(SEEN, serving=1, idle=9e9), 1, 1, Cause.LOAD),
    ("nobody called, says an old word", ZERO, replace(SEEN, serving=1, idle=600.0, is_fresh=False), 1, 1, Cause.LOAD),
    ("nobody called whom one hears", ZERO, replace(SEEN, silent=1, idle=600.0), 4, 4, Cause.LOAD),
    ("nobody called, and one is lost", ZERO, replace(SEEN, serving=1, silent=1, lost=1, idle=9e9), 1, 1, Cause.UNKNOWN),
    ("nobody called, and a request waits", ZERO, replace(SEEN, serving=1, idle=600.0, held=1), 1, 1, Cause.LOAD),
    ("at zero a word need not be fresh", ZERO, replace(SEEN, serving=1, idle=600.0, is_fresh=False), 0, 0, Cause.IDLE),
    ("at zero, and a late request reaches a pod", ZERO, replace(SEEN, serving=1, idle=0.0), 0, 1, Cause.LOAD),
    ("at zero nobody is woken by nothing", ZERO, Reading(), 0, 0, Cause.UNKNOWN),
    ("at zero a request wakes one", ZERO, Reading(held=90), 0, 1, Cause.WOKEN),
    ("while the first starts, requests that wait order no second", ZERO, Reading(held=90), 1, 1, Cause.UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "settings", "reading", "before", "wanted", "cause"), CASES, ids=[c[0] for c in CASES]
)
def test_the_number_and_its_cause(
    reason: str, settings: Settings, reading: Reading, before: int, wanted: int, cause: Cause
) -> None:
    decision = decide(settings, reading, Past(before), NOW)
    assert (wanted, cause) == (decision.wanted, decision.cause), reason


def test_what_was_asked_for_within_the_window_stays_and_no_longer() -> None:
    busy, quiet = replace(SEEN, stable=28.0, panic=28.0), replace(SEEN, stable=5.0, panic=5.0)
    past = decide(S, busy, Past(4), NOW).past
    for second in (1, 30, 59):
        past = decide(S, quiet, past, NOW + second).past
        assert past.wanted == 4
    assert decide(S, quiet, past, NOW + 61).wanted == 1


def test_a_slow_start_makes_the_window_longer() -> None:
    busy, quiet = (replace(SEEN, stable=load, panic=load, startup=200.0) for load in (28.0, 5.0))
    past = decide(S, busy, Past(4), NOW).past
    past = decide(S, quiet, past, NOW + 199).past
    assert (4, 1) == (past.wanted, decide(S, quiet, past, NOW + 201).wanted)


def test_a_panic_that_ends_undoes_nothing_for_a_minute() -> None:
    panicking = decide(S, replace(SEEN, stable=5.0, panic=60.0), Past(4), NOW)
    calm = replace(SEEN, stable=5.0, panic=5.0, serving=9)
    past = decide(replace(S, scale_down=0.0), calm, panicking.past, NOW + 59).past
    assert (9, 9) == (panicking.wanted, past.wanted)
    assert decide(replace(S, scale_down=0.0), calm, past, NOW + 61).wanted == 1


@pytest.mark.parametrize(
    ("reason", "reading", "before", "again"),
    [
        ("a mean that falls is looked at again", replace(SEEN, stable=20.0, panic=20.0), 4, 2.0),
        ("a peak is forgotten in its time", replace(SEEN, stable=0.0), 4, 60.0),
        ("at the lowest number nothing can fall", SEEN, 1, inf),
        ("nobody is heard: nothing can be decided", replace(SEEN, silent=4), 4, inf),
    ],
)
def test_when_to_look_again_without_an_event(reason: str, reading: Reading, before: int, again: float) -> None:
    past = Past(before, peaks=((NOW, 5),))
    assert decide(S, reading, past, NOW).again == pytest.approx(again), reason


@pytest.mark.parametrize(
    ("words", "settings", "reading", "before"),
    [
        ("28.1 requests at a time over 60 s, 7 aimed at for each replica", S, replace(SEEN, stable=28.1), 4),
        ("60.0 requests at a time over 6 s, 7 aimed at for each replica", S, replace(SEEN, panic=60.0), 4),
        ("700.0 requests at a time over 60 s, 7 aimed at for each replica: 100 replicas, of which maxReplicas allows 10", S,
         replace(SEEN, stable=700.0), 4),
        ("0.0 requests at a time over 60 s, 7 aimed at for each replica: 1, below minReplicas", replace(S, minimum=3), SEEN, 4),
        ("nobody has called for 612 s, and idleSeconds is 600", ZERO, replace(SEEN, idle=612.4), 4),
        ("1 request waits for a first replica", ZERO, Reading(held=1), 0),
        ("12 requests wait for a first replica", ZERO, Reading(held=12), 0),
        ("no pod has said its load for 120 s: fallbackReplicas", replace(S, fallback=6), replace(SEEN, silent=4, lost=4), 4),
        ("the number that stood when the load was not known yet", S, Reading(), 4),
    ],
)  # fmt: skip
def test_why_is_said_in_words(words: str, settings: Settings, reading: Reading, before: int) -> None:
    decision = decide(settings, reading, Past(before), NOW)
    assert words == explain(settings, reading, decision)
