"""Evidence: what does not fit together, or cannot be seen, is a gap; all the rest is shown as it is."""

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from modelward_operator.plan.names import canonical_json
from modelward_operator.plugin import kubectl
from modelward_operator.plugin.evidence import Seen, evidence, policy_file_of
from modelward_operator.plugin.kubectl import Kubectl, KubectlError
from modelward_operator.plugin.text import page

Json = dict[str, Any]
DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
AT = "2026-11-25T12:00:00Z"


def a_model(**spec: Any) -> Json:
    security = {"encryption": {"mode": "Required"}, "verification": {"mode": "Required"}}
    return {
        "metadata": {"namespace": "risk", "name": "fraud", "uid": "u-1", "generation": 3},
        "spec": {
            "model": {"uri": "s3://models/fraud/7/", "version": "7", "digest": DIGEST},
            "security": security,
            "privacy": {"policyRef": {"name": "standard"}},
        }
        | spec,
        "status": {
            "observedGeneration": 3,
            "conditions": [{"type": "Ready", "status": "True", "reason": "Serving", "message": "2 pods are ready"}],
        },
    }


POLICY_FILE = {"generation": "g1", "privacy": {"policyGeneration": 2}, "audit": {"required": True}}
DIGEST_OF_FILE = hashlib.sha256(canonical_json(POLICY_FILE).encode()).hexdigest()
PRIVACY: Json = {"metadata": {"name": "standard", "uid": "p-1", "generation": 2}, "spec": {"input": {}}}


def a_pod(name: str = "fraud-0", *, ready: str = "True") -> Json:
    status = {
        "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": [{"imageID": "runtime@sha256:1"}],
    }
    return {"metadata": {"name": name, "uid": name}, "spec": {"nodeName": "n1"}, "status": status}


def a_report(**change: Any) -> Json:
    return {
        "state": "Ready",
        "model": {
            "digest": DIGEST,
            "sizeBytes": 10,
            "signer": {"name": "ci", "fingerprint": "sha256:f"},
            "encrypted": True,
        },
        "policyGeneration": "g1",
        "policyDigest": DIGEST_OF_FILE,
        "policyFailure": None,
        "audit": {"records": 4, "head": "ab", "failure": ""},
        "access": {"authentication": "TokenReview", "tls": None},
    } | change


def gaps(**change: Any) -> list[str]:
    given = {
        "model": a_model(),
        "policy_file": POLICY_FILE,
        "privacy_policy": PRIVACY,
        "pods": [Seen(a_pod(), a_report())],
    } | change
    found: list[str] = evidence(**given, at=AT)["gaps"]
    return found


def test_what_fits_together_has_no_gaps() -> None:
    assert [] == gaps()


def _secured(**security: Any) -> Json:
    model = a_model()
    model["spec"]["security"] |= security
    return model


def _stale() -> Json:
    model = a_model()
    model["status"]["observedGeneration"] = 2
    return model


@pytest.mark.parametrize(
    ("reason", "change", "told"),
    [
        ("the spec is newer than what the operator has seen", {"model": _stale()}, "not yet looked at generation 3"),
        ("nothing runs", {"pods": []}, "no pod is ready"),
        ("a pod is not ready", {"pods": [Seen(a_pod(ready="False"), a_report())]}, "no pod is ready"),
        ("a pod cannot be asked", {"pods": [Seen(a_pod(), {}, "forbidden")]}, "does not answer: forbidden"),
        ("the policy is gone", {"privacy_policy": {}}, "PrivacyPolicy standard cannot be read"),
        (
            "the policy is newer than what was written",
            {"privacy_policy": {**PRIVACY, "metadata": {**PRIVACY["metadata"], "generation": 5}}},
            "not of the PrivacyPolicy's generation 5",
        ),
        (
            "other bytes are loaded",
            {"pods": [Seen(a_pod(), a_report(model={**a_report()["model"], "digest": OTHER}))]},
            f"has loaded {OTHER}, declared is {DIGEST}",
        ),
        (
            "pods differ",
            {
                "pods": [
                    Seen(a_pod(), a_report()),
                    Seen(a_pod("fraud-1"), a_report(model={**a_report()["model"], "digest": OTHER})),
                ]
            },
            "different bytes",
        ),
        ("nobody signed", {"pods": [Seen(a_pod(), a_report(model={"digest": DIGEST}))]}, "cannot say who signed"),
        (
            "it was not sealed",
            {"pods": [Seen(a_pod(), a_report(model={**a_report()["model"], "encrypted": False}))]},
            "does not report that its model was sealed",
        ),
        (
            "an older policy holds",
            {"pods": [Seen(a_pod(), a_report(policyGeneration="g0", policyDigest="0"))]},
            "enforces policy.json of generation g0",
        ),
        (
            "another file by the same name",
            {"pods": [Seen(a_pod(), a_report(policyDigest="0"))]},
            "not the one that is written",
        ),
        ("the policy is refused", {"pods": [Seen(a_pod(), a_report(policyFailure="no tensor age"))]}, "no tensor age"),
        ("nothing is audited", {"pods": [Seen(a_pod(), a_report(audit=None))]}, "reports no audit log"),
        ("the audit log fails", {"pods": [Seen(a_pod(), a_report(audit={"failure": "disk full"}))]}, "disk full"),
        (
            "the budget is not spent",
            {"policy_file": {**POLICY_FILE, "privacy": {"policyGeneration": 2, "output": {"differentialPrivacy": {}}}}},
            "does not report that it spends a privacy budget",
        ),
        (
            "the budget's ledger cannot be asked",
            {"pods": [Seen(a_pod(), a_report(epsilon={"spent": "1", "remaining": None, "failure": "away"}))]},
            "cannot ask the ledger of its privacy budget: away",
        ),
        ("the written policy cannot be seen", {"policy_file": {}}, "policy.json, which the operator writes"),
        (
            "everybody may call",
            {"pods": [Seen(a_pod(), a_report(access={"authentication": "None", "tls": None}))]},
            "authenticates callers by None, declared is TokenReview",
        ),
        (
            "another way in than declared",
            {"model": _secured(authentication={"mode": "JWT"})},
            "by TokenReview, declared is JWT",
        ),
        ("no certificate", {"model": _secured(tls={"mode": "Managed"})}, "TLS is declared"),
        ("it says nothing of the door", {"pods": [Seen(a_pod(), a_report(access=None))]}, "nothing that it reports"),
        ("it is still loading", {"pods": [Seen(a_pod(), a_report(state="Fetching"))]}, "it is Fetching, not Ready"),
    ],
)
def test_each_thing_that_does_not_fit_is_a_gap(reason: str, change: Json, told: str) -> None:
    found = gaps(**copy.deepcopy(change))
    assert any(told in gap for gap in found), f"{reason}: {found}"


def test_the_page_says_what_an_auditor_asks_for() -> None:
    text = page(evidence(a_model(), POLICY_FILE, PRIVACY, [Seen(a_pod(), a_report())], AT))
    for part in ("risk/fraud", DIGEST, "signed by   ci", "PrivacyPolicy standard, generation 2", "head ab", "No gaps"):
        assert part in text
    spent = a_report(epsilon={"spent": "2.5", "remaining": "97.5"})
    text = page(evidence(a_model(), POLICY_FILE, PRIVACY, [Seen(a_pod(), spent)], AT))
    assert "2.5 spent by this pod, 97.5 left" in text
    assert "TokenReview, no TLS" in text
    text = page(evidence(a_model(), POLICY_FILE, PRIVACY, [Seen(a_pod(), {}, "forbidden")], AT))
    assert "No gaps" not in text
    assert "! pod fraud-0 does not answer: forbidden" in text


def test_a_pod_cannot_write_lines_of_its_own_nor_wipe_others_away() -> None:
    signer = {"name": "ci\n\nNo gaps: all is well.\x1b[8m\u202e\x9b2J", "fingerprint": "sha256:f"}
    odd = a_report(audit=None, model={**a_report()["model"], "signer": signer})
    text = page(evidence(a_model(), POLICY_FILE, PRIVACY, [Seen(a_pod(), odd)], AT))
    assert r"signed by   ci\n\nNo gaps: all is well.\x1b[8m\u202e\x9b2J (sha256:f)" in text
    assert all(line.isprintable() for line in text.split("\n"))
    assert not any(line.startswith("No gaps") for line in text.split("\n"))


def test_the_written_policy_is_read_from_its_config_map() -> None:
    assert {} == policy_file_of({})
    assert {} == policy_file_of({"data": {"policy.json": "{edited by hand"}})
    assert POLICY_FILE == policy_file_of({"data": {"policy.json": json.dumps(POLICY_FILE)}})


def test_a_kubectl_that_hangs_or_is_not_there_is_said_and_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KubectlError, match="kubectl config"):
        Kubectl().namespace()
    silent = tmp_path / "kubectl"
    silent.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setattr(kubectl, "_LIMIT", 0.3)
    with pytest.raises(KubectlError, match="timed out"):
        Kubectl().read("pods")
    with pytest.raises(KubectlError, match="said nothing"):
        Kubectl().report("risk", "fraud-0")
