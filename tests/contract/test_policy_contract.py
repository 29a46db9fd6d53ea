"""What the API server takes as a PrivacyPolicy, the runtime takes as policy.json: the same words, the same bounds."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

import pytest
import yaml

from modelward_operator.api.auditing import Audit, Durability, LoggingMode, SinkType
from modelward_operator.api.crd import privacypolicy_crd
from modelward_operator.api.parse import Invalid, parse_privacy
from modelward_operator.api.privacyinput import PiiAction, PiiKind
from modelward_operator.api.privacyoutput import Distribution
from modelward_operator.facts import PrivacyPolicy, Surroundings
from modelward_operator.plan.config import policy_digest
from modelward_runtime.config import parse_policy
from modelward_runtime.privacy import config as privacy
from modelward_runtime.sinks.opening import OBJECT_SECONDS, PROMPT_SECONDS
from tests.makers import drawn, make_given
from tests.privacy_specs import ACCEPTED_PRIVACY, privacy_policy
from tests.specs import Good


def written(spec: str, name: str = "standard") -> tuple[str, str]:
    """Return the policy.json that the operator writes for a PrivacyPolicy, and the digest by which pods say that they hold it."""
    policy = parse_privacy(privacy_policy(spec))
    assert not isinstance(policy, Invalid), policy
    given = make_given({"privacy": {"policyRef": {"name": name}}})
    plan = drawn(replace(given, around=Surroundings(privacy={name: PrivacyPolicy(name, 3, policy)})))
    (text,) = (o["data"]["policy.json"] for o in plan.objects if "policy.json" in o.get("data", {}))
    return text, policy_digest(plan)


@pytest.mark.parametrize("case", ACCEPTED_PRIVACY, ids=lambda case: case.reason)
def test_every_policy_that_is_accepted_is_read_by_the_runtime(case: Good) -> None:
    text, digest = written(case.spec)
    found = parse_policy(text.encode())
    assert digest == hashlib.sha256(text.encode()).hexdigest()
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


ROOT = Path(__file__).parents[2]
FIELDS = ROOT / "operator/src/modelward_operator/policies/privacy/FIELDS.md"


def test_what_a_killed_pod_loses_is_told_as_it_is() -> None:
    """Buffered records wait for company, in front of a store of objects for longer than in front of a file."""
    assert PROMPT_SECONDS < 1
    described = Audit.model_fields["durability"].description or ""
    guide = FIELDS.read_text()
    required = guide[guide.index("## `audit.required`") : guide.index("## `audit.durability`")]
    durability = guide[guide.index("## `audit.durability`") : guide.index("## `audit.signingKeyRef`")]
    for text in (described, required, durability):
        assert f"about {OBJECT_SECONDS:.0f} seconds" in text
        assert "a second" in text


@pytest.mark.parametrize(
    "file", [FIELDS, ROOT / "runtime/AUDIT.md", ROOT / "runtime/src/modelward_runtime/sinks/keeping.py"]
)
def test_how_long_a_record_may_outstay_its_retention_is_told_once(file: Path) -> None:
    """A file is ended by the first hourly look after a day, and is itself looked for every hour."""
    assert "a day and two hours" in " ".join(file.read_text().split())


NAME, OTHER, KEY, NUMBER, GREATER = (
    "t" * 256,
    "u" * 256,
    "k" * 253,
    f"-{'9' * 15}.{'9' * 15}",
    f"-{'9' * 15}.{'8' * 15}",
)
STORE: dict[str, Any] = {
    "uri": f"s3://b/{'p' * 1016}/",
    "endpoint": f"https://{'h' * 2040}",
    "region": "r" * 63,
    "secretRef": {"name": KEY},
    "caBundleRef": {"name": KEY},
}
SECRET = {"name": KEY, "key": KEY}
EPSILON = {"epsilon": "19.999999", "budget": {"epsilon": "999999.999999", "period": "Month", "scope": "Subject"}}
LONGEST: Final[tuple[dict[str, Any], ...]] = (
    {
        "input": {
            "tensors": [
                {
                    "name": NAME,
                    "columns": [{"names": [NAME], "minimum": NUMBER, "maximum": GREATER}],
                    "minimum": NUMBER,
                    "maximum": GREATER,
                }
            ],
            "pii": [{"kinds": ["Email"], "tensors": [NAME], "action": "Hash"}],
            "hashKeyRef": SECRET,
        },
        "output": {
            "tensors": [{"name": NAME, "decimals": 1}],
            "perturbation": [{"name": NAME, "distribution": "Laplace", "scale": f"{'9' * 15}.{'9' * 15}"}],
        },
        "logging": {"mode": "Redacted", "sink": {"type": "S3", "s3": STORE}},
        "audit": {"sink": {"type": "S3", "s3": STORE}, "signingKeyRef": SECRET, "inputHashKeyRef": SECRET},
    },
    {
        "output": {
            "differentialPrivacy": {
                "name": NAME,
                "mechanism": "RandomizedResponse",
                "labels": [NAME, OTHER],
                "subjectKeyRef": SECRET,
                **EPSILON,
            }
        },
        "logging": {"mode": "Metadata", "sink": {"type": "File", "file": {"claimName": KEY}}},
        "audit": {"sink": {"type": "File", "file": {"claimName": KEY}}, "signingKeyRef": SECRET},
    },
    {
        "output": {
            "differentialPrivacy": {
                "name": NAME, "mechanism": "Laplace", "lower": NUMBER, "upper": GREATER, "subjectKeyRef": SECRET, **EPSILON,
            }
        },
    },
)  # fmt: skip
SHORTER: Final = {
    "output.differentialPrivacy.epsilon": "at most 20, with six decimals",
    "output.differentialPrivacy.budget.epsilon": "its pattern ends at six digits and six decimals",
    "output.perturbation[].scale": "has no sign",
    "logging.sink.file.sizeLimit": "is the volume's, and read by the runtime as a number",
    "audit.sink.file.sizeLimit": "as above",
}


def bounds(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, int]]:
    """Yield the path of every string of the schema that is no word of a list, with its greatest length."""
    if "maxLength" in node:
        yield path, node["maxLength"]
    assert "enum" in node or "maxLength" in node or node.get("type") != "string", f"{path} has no bound"
    for name, field in node.get("properties", {}).items():
        yield from bounds(field, f"{path}.{name}".removeprefix("."))
    if "items" in node:
        yield from bounds(node["items"], f"{path}[]")


def strings(node: Any, path: str = "") -> Iterator[tuple[str, int]]:
    """Yield the path of every string of a spec, with its length."""
    if isinstance(node, str):
        yield path, len(node)
    elif isinstance(node, dict):
        for name, field in node.items():
            yield from strings(field, f"{path}.{name}".removeprefix("."))
    elif isinstance(node, list):
        for item in node:
            yield from strings(item, f"{path}[]")


@pytest.mark.parametrize("spec", LONGEST, ids=["rules and objects", "a label and files", "a number"])
def test_the_longest_strings_that_are_accepted_are_read_by_the_runtime(spec: dict[str, Any]) -> None:
    text, _ = written(yaml.safe_dump(spec), "n" * 253)
    assert json.loads(text)["generation"] == parse_policy(text.encode()).generation


def test_no_string_of_the_schema_is_missing_there() -> None:
    schema = privacypolicy_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    tried = {found for spec in LONGEST for found in strings(spec)}
    assert {*bounds(schema)} - tried == {(path, most) for path, most in bounds(schema) if path in SHORTER}
