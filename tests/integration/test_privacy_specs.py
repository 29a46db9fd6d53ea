"""What the API server accepts and refuses of PrivacyPolicies, from the table in tests/privacy_specs.py, and that the largest fits."""

from collections.abc import Callable
from typing import Any

import pytest

from modelward_operator.api.privacyinput import PiiKind
from tests.integration.apiserver import ApiServer
from tests.integration.rest import apply
from tests.privacy_specs import ACCEPTED_PRIVACY, REFUSED_PRIVACY, privacy_policy
from tests.specs import Bad, Good

DryRun = Callable[[dict[str, Any]], str]


@pytest.mark.parametrize("case", ACCEPTED_PRIVACY, ids=lambda case: case.reason)
def test_accepted(case: Good, dry_run: DryRun) -> None:
    assert dry_run(privacy_policy(case.spec)) == ""


@pytest.mark.parametrize("case", REFUSED_PRIVACY, ids=lambda case: case.reason)
def test_refused(case: Bad, dry_run: DryRun) -> None:
    refusal = dry_run(privacy_policy(case.spec))
    assert case.path in refusal
    assert case.message in refusal


KINDS = [kind.value for kind in PiiKind]


def names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number:03}".ljust(256, "n") for number in range(count)]


def test_the_largest_policy_is_within_the_budget_of_the_rules(server: ApiServer) -> None:
    column = {"indices": list(range(256)), "names": names("f", 256), "minimum": "-9.5", "maximum": "9.5"}
    sink = {"type": "S3", "s3": {"uri": f"s3://a/{'b' * 1000}/", "secretRef": {"name": "s" * 253}}}
    largest = privacy_policy("{}", "largest")
    largest["spec"] = {
        "input": {
            "tensors": [
                {
                    "name": name,
                    "minimum": "-9.5",
                    "maximum": "9.5",
                    "columns": [{"indices": [0], "action": "Zero"}] * 64,
                }
                for name in names("i", 64)
            ],
            "pii": [{"kinds": KINDS, "tensors": names("i", 16), "action": "Hash"}] * 8,
            "hashKeyRef": {"name": "k", "key": "k"},
        },
        "output": {
            "tensors": [{"name": name, "topK": 3} for name in names("o", 64)],
            "perturbation": [{"name": n, "distribution": "Laplace", "scale": "0.1"} for n in names("o", 64)],
        },
        "logging": {"mode": "Redacted", "sink": sink},
        "audit": {"sink": sink, "signingKeyRef": {"name": "a", "key": "b"}},
    }
    largest["spec"]["input"]["tensors"][0]["columns"] = [column] * 8
    apply(server, largest)
