"""The order in which the rooms are asked cannot matter."""

from dataclasses import replace
from functools import reduce
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.facts import Policy, Surroundings
from modelward_operator.policies.rooms import ROOMS
from modelward_operator.rulings import Addition, Bounds, Ruling, Slot, Verdict, settle
from tests.makers import make_given, parsed
from tests.public_keys import ALICE

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


TRUST = {"mode": "Required", "trust": [{"name": "ci", "keyRef": {"name": "ci-pub"}}]}
KEYS: list[dict[str, Any]] = [
    {"provider": "Secret", "name": "kek"},
    {"provider": "Vault", "vault": {"address": "https://v", "key": "k", "role": "r", "caBundleRef": {"name": "ca"}}},
    {"provider": "AWSKMS", "awsKms": {"key": "k", "region": "r", "secretRef": {"name": "aws"}}},
]
securities = st.one_of(
    st.just({}),
    st.just({"verification": TRUST}),
    st.sampled_from(KEYS).map(lambda ref: {"encryption": {"mode": "Required", "keyRef": ref}, "verification": TRUST}),
)
specs = st.builds(
    lambda security, suspend, replicas: {"security": security, "suspend": suspend, "scaling": {"replicas": replicas}},
    securities,
    st.booleans(),
    st.integers(0, 3),
)
floors = st.fixed_dictionaries(
    {
        "requireEncryption": st.booleans(),
        "requireVerification": st.just(value=True),
        "trustedSigners": st.sampled_from([[], [f"sha256:{'0' * 64}"]]),
        "allowedUriPrefixes": st.sampled_from([[], ["s3://models/"], ["s3://other/"]]),
    }
)


@given(specs, st.lists(floors, max_size=3), st.randoms())
def test_the_rooms_rule_the_same_in_any_order_of_rooms_and_policies(
    spec: dict[str, Any], demands: list[dict[str, Any]], random: Random
) -> None:
    policies = [
        Policy(f"p{n}", ModelPolicySpec.model_validate({"namespaceSelector": {}, **one}))
        for n, one in enumerate(demands)
    ]
    trust = {"ci-pub": {"data": {"public.pem": ALICE}}}

    def ruled(rooms: list[Any], over: list[Policy]) -> Ruling:
        facts = replace(make_given(spec), around=Surroundings({}, over, trust))
        return settle(room(facts, parsed(facts)) for room in rooms)

    expected = ruled(list(ROOMS), policies)
    rooms, shuffled = list(ROOMS), list(policies)
    random.shuffle(rooms)
    random.shuffle(shuffled)
    assert expected == ruled(rooms, shuffled)
