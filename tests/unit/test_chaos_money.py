"""The chaos ring's account of pods: to the second where nothing was going on, and only as blurred as a fault allows."""

from typing import Any

import pytest

from e2e.chaos.money import BLURRED, WRITTEN, Bill, Charge, charged, not_told, too_little, too_much

Json = dict[str, Any]
BEGAN = 1_000_000.0
STAMP = "1970-01-12T13:46:40Z"


def pod(uid: str, model: str = "a") -> Json:
    labels = {"modelward.dev/model": model}
    return {"metadata": {"uid": uid, "labels": labels, "creationTimestamp": STAMP}}


class Clock:
    def __init__(self) -> None:
        self.time = BEGAN

    def __call__(self) -> float:
        return self.time


def bill(*lives: tuple[str, float | None], unwell: tuple[float, float] | None = None) -> Bill:
    """Pods of one model that began together, by UID and the second of their end; and a fault, from when until when."""
    clock = Clock()
    made = Bill(clock)
    made.see([pod(uid) for uid, _ in lives])
    for uid, seconds in lives:
        if seconds is not None:
            clock.time = BEGAN + seconds
            made.end(uid)
    if unwell:
        made.unwell.append((BEGAN + unwell[0], BEGAN + unwell[1]))
    return made


def bounds(made: Bill, seconds: float) -> tuple[float, float]:
    """What the model can have been charged by then, without the blur of each pod."""
    low, high = made.bounds(BEGAN + seconds)["a"]
    pods = len(made.lives)
    return low + pods * BLURRED, high - pods * BLURRED


def test_a_pod_that_ended_costs_its_seconds_once_the_ledger_is_written() -> None:
    assert bounds(bill(("x", 40.0)), 40 + WRITTEN) == (40.0, 40.0)
    assert bounds(bill(("x", 40.0), ("y", 60.0)), 1000) == (100.0, 100.0)


def test_of_a_pod_that_goes_on_the_last_seconds_may_not_be_written_yet() -> None:
    assert bounds(bill(("x", None)), 500) == (500 - WRITTEN, 500.0)


def test_an_end_while_a_fault_goes_on_or_a_minute_before_is_an_estimate_between_its_edges() -> None:
    fault = (200.0, 290.0)
    assert bounds(bill(("x", 240.0), unwell=fault), 1000) == (200 - WRITTEN, 290.0)
    assert bounds(bill(("x", 180.0), unwell=fault), 1000) == (200 - WRITTEN, 180.0), "it may not have been written"
    for seconds in (100.0, 300.0):
        assert bounds(bill(("x", seconds), unwell=fault), 1000) == (seconds, seconds), "another fault is no excuse"


def test_a_pod_that_is_seen_again_began_once_and_ends_once() -> None:
    made = bill(("x", 40.0))
    made.see([pod("x")])
    made.end("x")
    made.end("nobody")
    assert bounds(made, 1000) == (40.0, 40.0)


def ledger(**cells: str) -> Json:
    return {"spec": {"rows": [{"model": name, "quarters": text} for name, text in cells.items()]}}


def test_rows_of_all_parts_are_summed_by_model() -> None:
    guessed = {"spec": {"rows": [{"model": "a", "quarters": "00:00=3000000000", "estimated": "500000000"}]}}
    parts = [ledger(a="13:45=500000000 14:00=1500000000", b="13:45=1"), guessed, {"spec": {}}]
    assert charged(parts) == {"a": Charge(5.0, 0.5), "b": Charge(1e-9)}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": Charge(5.0)}, {"a": Charge(4.0)}, "a: the ledger said 5 USD and says 4"),
        ({"a": Charge(5.0)}, {}, "a: the ledger said 5 USD and says 0"),
        (
            {},
            {"a": Charge(11.5, 1.0)},
            "a: charged 11.5 s, 1.0 s of them as an estimate, of pods that were there for 10.0 at most",
        ),
        (
            {},
            {"b": Charge(1.0)},
            "b: charged 1.0 s, 0.0 s of them as an estimate, of pods that were there for 0.0 at most",
        ),
    ],
    ids=["given back", "a row that is gone", "more than there was", "a model without pods"],
)
def test_what_the_ledger_must_not_say_is_named(before: dict[str, Charge], after: dict[str, Charge], said: str) -> None:
    assert too_much(before, after, {"a": (5.0, 10.0)}) == [said]


def test_a_ledger_that_says_too_little_is_named_and_one_within_its_bounds_is_not() -> None:
    limits = {"a": (5.0, 10.0)}
    assert too_little({"a": Charge(5.0)}, limits) == []
    assert too_much({"a": Charge(11.0, 1.0)}, {"a": Charge(11.0, 1.0)}, limits) == []
    assert too_little({}, limits) == ["a: charged 0.0 s of pods that were there for 5.0 at least"]


def test_a_price_that_does_not_go_with_the_replicas_is_named() -> None:
    assert not_told({"cost": {"hourly": "7200", "currency": "USD"}}, 2) == []
    assert not_told({"cost": {"hourly": "3600"}}, 2) == [
        "the status says {'hourly': '3600'}, and 2 pods cost 7200 USD an hour"
    ]
    assert not_told({}, 1) == ["the status says no cost, and 1 pods cost 3600 USD an hour"]
