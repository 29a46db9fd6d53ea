"""The order in which the rooms are asked cannot matter."""

from functools import reduce
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.rulings import Addition, Bounds, Ruling, Slot, Verdict, settle

few = st.sampled_from(["a", "b", "c"])
verdicts = st.frozensets(st.builds(Verdict, few, few, few), max_size=3)
bounds = st.builds(Bounds, st.integers(0, 5), st.integers(0, 5))
additions = st.frozensets(st.builds(Addition, st.sampled_from(Slot), few, few), max_size=3)
rulings = st.builds(Ruling, verdicts, bounds, additions)


@given(rulings, rulings)
def test_two_rulings_commute(a: Ruling, b: Ruling) -> None:
    assert a & b == b & a


@given(rulings, rulings, rulings)
def test_rulings_associate(a: Ruling, b: Ruling, c: Ruling) -> None:
    assert (a & b) & c == a & (b & c)


@given(rulings)
def test_a_ruling_said_twice_counts_once_and_silence_changes_nothing(a: Ruling) -> None:
    assert a & a == a
    assert a & Ruling() == a


@given(st.lists(rulings, max_size=5), st.randoms())
def test_settling_in_any_order_is_the_same(some: list[Ruling], random: Random) -> None:
    shuffled = list(some)
    random.shuffle(shuffled)
    assert settle(some) == settle(shuffled)


@given(st.lists(rulings, max_size=5))
def test_what_contradicts_itself_denies_and_says_why(some: list[Ruling]) -> None:
    joint, settled = reduce(Ruling.__and__, some, Ruling()), settle(some)
    by_name: dict[tuple[Slot, str], set[str]] = {}
    for addition in joint.additions:
        by_name.setdefault((addition.slot, addition.name), set()).add(addition.value)
    contradictory = joint.replicas.empty or any(len(values) > 1 for values in by_name.values())
    assert settled.denied == (joint.denied or contradictory)
    assert joint.verdicts <= settled.verdicts
