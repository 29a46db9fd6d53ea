"""What the API server takes as a PrivacyPolicy, the runtime takes as policy.json: the same words, the same bounds."""

import json
from dataclasses import replace
from typing import get_args

import pytest

from modelward_operator.api.auditing import Durability, LoggingMode, SinkType
from modelward_operator.api.parse import Invalid, parse_privacy
from modelward_operator.api.privacyinput import PiiAction, PiiKind
from modelward_operator.api.privacyoutput import Distribution
from modelward_operator.facts import PrivacyPolicy, Surroundings
from modelward_operator.plan.config import policy_generation
from modelward_runtime.config import parse_policy
from modelward_runtime.privacy import config as privacy
from tests.makers import drawn, make_given
from tests.privacy_specs import ACCEPTED_PRIVACY, privacy_policy
from tests.specs import Good


def written(spec: str) -> tuple[str, str]:
    """Return the policy.json that the operator writes for a PrivacyPolicy, and its generation."""
    policy = parse_privacy(privacy_policy(spec))
    assert not isinstance(policy, Invalid), policy
    given = make_given({"privacy": {"policyRef": {"name": "standard"}}})
    plan = drawn(replace(given, around=Surroundings(privacy={"standard": PrivacyPolicy("standard", 3, policy)})))
    (text,) = (o["data"]["policy.json"] for o in plan.objects if "policy.json" in o.get("data", {}))
    return text, policy_generation(plan)


@pytest.mark.parametrize("case", ACCEPTED_PRIVACY, ids=lambda case: case.reason)
def test_every_policy_that_is_accepted_is_read_by_the_runtime(case: Good) -> None:
    text, generation = written(case.spec)
    found = parse_policy(text.encode())
    assert generation == found.generation
    assert found.privacy is not None
    assert ("standard", 3) == (found.privacy.policy, found.privacy.policy_generation)
    sections = json.loads(text)
    assert (found.audit is not None, found.logging is not None) == ("audit" in sections, "logging" in sections)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(PiiKind, privacy.Kind), (PiiAction, privacy.Action), (Distribution, privacy.Distribution)],
    ids=["kinds", "actions", "distributions"],
)
def test_both_know_the_same_words(ours: type[PiiKind | PiiAction | Distribution], theirs: object) -> None:
    assert {str(word) for word in ours} == {*get_args(theirs)}


def test_the_accepted_policies_use_every_word_of_sinks_modes_and_durability() -> None:
    """Or the test above would not have asked the runtime for it."""
    text = " ".join(case.spec for case in ACCEPTED_PRIVACY)
    for word in (*SinkType, *LoggingMode, *Durability, *PiiKind, *PiiAction):
        assert str(word) in text or word is Durability.BUFFERED, word


@pytest.mark.parametrize(
    ("reason", "scale"),
    [("the smallest that the schema takes", "0.000000000000001"), ("the greatest", "9" * 15 + "." + "9" * 15)],
)
def test_numbers_at_their_bounds_are_read_by_the_runtime(reason: str, scale: str) -> None:
    text, _ = written(
        f"{{input: {{tensors: [{{name: a, minimum: '-{scale}', maximum: '{scale}'}}]}}, "
        f"output: {{perturbation: [{{name: p, distribution: Gaussian, scale: '{scale}'}}]}}}}"
    )
    assert parse_policy(text.encode()).privacy is not None, reason
