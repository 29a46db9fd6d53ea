"""Which runs may be on the event loop's thread: what was measured to be short, until it is not."""

import numpy as np

from modelward_runtime.pace import TURN, Inline, Pace, weigh

SHORT, LONG, LIMIT = 1e-4, 1e-2, 1e-3


class Turns:
    """The event loop's time, which moves from turn to turn."""

    now = 1.0

    def __call__(self) -> float:
        return self.now


def known(weight: int = 64, turns: Turns | None = None) -> Pace:
    pace = Pace(Inline(LIMIT), turns or Turns())
    for _ in range(2):
        pace.ran_elsewhere(weight, SHORT)
    assert pace.permits(weight)
    return pace


def test_what_was_never_measured_is_no_business_of_the_loop() -> None:
    pace = Pace(Inline(LIMIT), Turns())
    assert not pace.permits(64)
    pace.ran_elsewhere(64, SHORT)
    assert not pace.permits(64), "the first run of a shape tells little"
    pace.ran_elsewhere(64, SHORT)
    assert pace.permits(64)
    assert pace.permits(100), "about the same weight"
    assert not pace.permits(128), "twice the weight is another matter"
    assert not pace.permits(1)


def test_a_slow_first_run_keeps_nobody_out_for_long() -> None:
    pace = Pace(Inline(LIMIT), Turns())
    for seconds in (LONG, *[SHORT] * 8):
        assert not pace.permits(64)
        pace.ran_elsewhere(64, seconds)
    assert pace.permits(64)


def test_one_long_run_leaves_the_loop_and_eight_short_ones_come_back() -> None:
    turns = Turns()
    pace = known(turns=turns)
    pace.ran(64, LONG)
    turns.now += 1
    for _ in range(8):
        assert not pace.permits(64)
        pace.ran_elsewhere(64, SHORT)
    assert pace.permits(64)


def test_a_model_that_is_slow_stays_with_the_workers() -> None:
    pace = known()
    for seconds in (SHORT, SHORT, LONG) * 20:
        pace.ran_elsewhere(64, seconds)
    assert not pace.permits(64)


def test_a_turn_of_the_loop_takes_only_so_many_runs() -> None:
    turns = Turns()
    pace = known(turns=turns)
    runs = 0
    while pace.permits(64):
        pace.ran(64, SHORT)
        runs += 1
    assert abs(runs - TURN / SHORT) <= 1
    turns.now += 1
    assert pace.permits(64)


def test_on_one_processor_a_full_turn_is_full_for_everybody() -> None:
    turns = Turns()
    pace, other = (Pace(Inline(LIMIT, turn=2 * SHORT, waits=waits), turns) for waits in (True, False))
    for one in (pace, other):
        for _ in range(2):
            one.ran_elsewhere(64, SHORT)
        assert (True, False) == (one.permits(64), one.defers())
        for _ in range(2):
            one.ran(64, SHORT)
        assert not one.permits(64)
    assert (True, False) == (pace.defers(), other.defers()), "elsewhere a worker takes it"
    turns.now += 1
    assert (True, False) == (pace.permits(64), pace.defers())


def test_texts_weigh_what_they_say() -> None:
    short, long = (np.array([["a" * length]], object) for length in (1, 5000))
    assert 24 == weigh({"x": np.zeros(6, np.float32)})
    assert weigh({"x": long}) - weigh({"x": short}) == 4999
