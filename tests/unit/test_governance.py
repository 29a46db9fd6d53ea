"""What a ModelPolicy denies, in words that name the policy and each violation."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.api.modelpolicy import ModelPolicySpec
from modelward_operator.facts import Applied, Given, Json, Pod, Policy, Surroundings
from modelward_operator.policies.governance.publickey import fingerprint
from modelward_operator.policies.governance.rule import governance
from modelward_operator.policies.rooms import rule, rule_unread
from modelward_operator.status.summarise import look_again_after
from modelward_runtime.config import parse_boot
from tests.makers import drawn, make_given, make_pod, parsed
from tests.public_keys import ALICE, BOB, OF_P384
from tests.specs import HEX

TRUST = {"mode": "Required", "trust": [{"name": "ci", "keyRef": {"name": "ci-pub"}}]}
SIGNED = {"security": {"verification": TRUST}}
SEALED = {
    "security": {
        "encryption": {"mode": "Required", "keyRef": {"provider": "Secret", "name": "kek"}},
        "verification": TRUST,
    }
}
SIGNERS: dict[str, Any] = {"requireVerification": True, "trustedSigners": [fingerprint(ALICE)]}


def policy(name: str = "floor", **demands: Any) -> Policy:
    return Policy(name, ModelPolicySpec.model_validate({"namespaceSelector": {}, **demands}))


def governed(
    spec: Json | None, *policies: Policy, trust: dict[str, Json] | None = None, pods: tuple[Pod, ...] = ()
) -> Given:
    return replace(make_given(spec, pods=pods), around=Surroundings({}, policies, trust or {}))


def said(given: Given) -> list[str]:
    verdicts = governance(given, parsed(given)).verdicts
    assert {(v.type, v.reason) for v in verdicts} <= {("Ready", "ModelPolicyViolated")}
    return sorted(v.message for v in verdicts)


def holding(pem: str, key: str = "public.pem") -> dict[str, Json]:
    return {"ci-pub": {"data": {key: pem}}}


def loaded(name: str = "fraud-a", state: str = "Ready", is_ending: bool = False, **model: Any) -> Pod:
    return make_pod(
        name, is_ready=True, is_ending=is_ending, report={"state": state, "model": {"digest": "d", **model}}
    )


def silent(seconds: float, before: str = "", **report: Any) -> Pod:
    """A pod that the kubelet calls Ready and that does not say what it has loaded; `before` it said the signer with this key."""
    model = {"encrypted": True, "signer": {"name": "ci", "fingerprint": fingerprint(before)}}
    last = {"state": "Ready", "model": model} if before else {}
    return replace(make_pod(is_ready=True, report=report), mute=seconds, last_loaded=last)


def test_without_a_policy_nothing_is_denied() -> None:
    assert said(governed(None)) == []


def test_each_policy_says_everything_that_violates_it() -> None:
    a = policy(
        "a",
        requireEncryption=True,
        requireVerification=True,
        requireDigest=True,
        allowedUriPrefixes=["s3://x/", "pvc://y/"],
    )
    b = policy("b", requireVerification=True)
    first, second = said(governed(None, b, a))
    assert first == (
        "ModelPolicy a: spec.security.encryption.mode must be Required; spec.security.verification.mode must be Required; "
        "spec.model.digest must be set; spec.model.uri must begin with s3://x/ or pvc://y/"
    )
    assert second == "ModelPolicy b: spec.security.verification.mode must be Required"


def test_a_digest_that_is_declared_meets_the_floor() -> None:
    assert said(governed({"model": {"uri": "s3://a/", "digest": f"sha256:{HEX}"}}, policy(requireDigest=True))) == []


def test_a_model_that_meets_every_floor_serves() -> None:
    floor = policy(requireEncryption=True, allowedUriPrefixes=["s3://models/"], **SIGNERS)
    pods = (loaded(encrypted=True, signer={"name": "ci", "fingerprint": fingerprint(ALICE)}),)
    assert said(governed(SEALED, floor, trust=holding(ALICE), pods=pods)) == []


URIS = [
    ("the very folder", "s3://models/risk/", "s3://models/risk/", True),
    ("below it", "s3://models/risk/fraud/7/", "s3://models/risk/", True),
    ("a file in it", "s3://models/risk/m.onnx", "s3://models/risk/", True),
    ("the folder without its slash", "s3://models/risk", "s3://models/risk/", True),
    ("a neighbour whose name begins alike", "s3://models/risk-2/m.onnx", "s3://models/risk/", False),
    ("a bucket whose name begins alike", "s3://models-2/risk/", "s3://models/", False),
    ("above it", "s3://models/", "s3://models/risk/", False),
    ("another scheme", "pvc://models/risk/", "s3://models/", False),
    ("a repository below it", "oci://r.example:5000/risk/fraud:7", "oci://r.example:5000/risk/", True),
    ("a repository whose folder begins alike", "oci://r.example/risk-2/fraud:7", "oci://r.example/risk/", False),
    ("a registry whose name begins alike", "oci://r.example.evil/risk/fraud:7", "oci://r.example/", False),
    ("the same name at another port", "oci://r.example:5000/risk/fraud:7", "oci://r.example/", False),
]


@pytest.mark.parametrize(("reason", "uri", "prefix", "allowed"), URIS, ids=[case[0] for case in URIS])
def test_prefixes_end_at_a_slash(reason: str, uri: str, prefix: str, allowed: bool) -> None:
    found = said(governed({"model": {"uri": uri}}, policy(allowedUriPrefixes=[prefix])))
    assert allowed == (found == []), reason


KEYS: list[tuple[str, dict[str, Json], str]] = [
    ("the signer of the list", holding(ALICE), ""),
    (
        "the same, kept as bytes",
        {"ci-pub": {"binaryData": {"public.pem": base64.b64encode(ALICE.encode()).decode()}}},
        "",
    ),
    ("no such ConfigMap: no pod starts without it", {}, ""),
    ("no such key: no pod starts without it", holding(BOB, key="other.pem"), ""),
    ("another signer", holding(BOB), f"has the fingerprint {fingerprint(BOB)}, which is not one of trustedSigners"),
    ("another curve", holding(OF_P384), "is not one P-256 public key or certificate in PEM and nothing else"),
    ("two keys in one file, of which readers may take either", holding(ALICE + BOB), "is not one P-256 public key"),
    ("nothing", holding(""), "is not one P-256 public key"),
    ("beyond ASCII", holding(ALICE + "\u00e9"), "is not one P-256 public key"),
]


@pytest.mark.parametrize(("reason", "trust", "expected"), KEYS, ids=[case[0] for case in KEYS])
def test_the_key_itself_counts(reason: str, trust: dict[str, Json], expected: str) -> None:
    found = said(governed(SIGNED, policy(**SIGNERS), trust=trust))
    assert bool(expected) == bool(found), reason
    assert not found or found[0].startswith("ModelPolicy floor: trust ci: the key public.pem of ConfigMap ci-pub ")
    assert expected in "".join(found)


PODS: list[tuple[str, Json, Pod, str]] = [
    (
        "a stranger signed what is loaded",
        SIGNERS,
        loaded(signer={"fingerprint": fingerprint(BOB)}),
        "of the signer sha256:",
    ),
    (
        "a stranger's CA certified whoever signed it, and calls it a trusted name",
        SIGNERS,
        loaded(signer={"fingerprint": fingerprint(ALICE), "authority": fingerprint(BOB)}),
        f"of the signer {fingerprint(BOB)}, not one of trustedSigners",
    ),
    (
        "a CA in nobody's form",
        SIGNERS,
        loaded(signer={"fingerprint": fingerprint(ALICE), "authority": ""}),
        "was not verified",
    ),
    ("nobody signed it", SIGNERS, loaded(), "pod fraud-a has loaded a model whose signature was not verified"),
    ("a signer in nobody's form", SIGNERS, loaded(signer={"fingerprint": "\ud800"}), "was not verified"),
    ("a signer that is a list", SIGNERS, loaded(signer=["ci"]), "was not verified"),
    (
        "it was not sealed",
        {"requireEncryption": True},
        loaded(encrypted="yes"),
        "has loaded a model that was not sealed",
    ),
    ("its digest was not declared", {"requireDigest": True}, loaded(verified=False), "whose digest was not declared"),
    ("its digest was declared", {"requireDigest": True}, loaded(verified=True), ""),
    ("it says nothing where a digest is required", {"requireDigest": True}, silent(3600), "has not said"),
    ("it has not loaded yet", SIGNERS, loaded(state="Verifying"), ""),
    ("it says nothing for a moment", SIGNERS, make_pod(is_ready=True), ""),
    ("it says nothing for a minute", SIGNERS, silent(69.9), ""),
    (
        "it says nothing for longer",
        SIGNERS,
        silent(70),
        "pod fraud-a is ready and has not said for 70 s what it has loaded",
    ),
    ("it says nothing where encryption is required", {"requireEncryption": True}, silent(3600), "has not said"),
    (
        "it says something else than Ready",
        SIGNERS,
        silent(70, state="Serving", model={"encrypted": True}),
        "has not said",
    ),
    ("it says nothing, and nothing is asked of pods", {"allowedUriPrefixes": ["s3://models/"]}, silent(3600), ""),
    ("it was heard and is silent now: of a stranger", SIGNERS, silent(0, before=BOB), "of the signer sha256:"),
    ("it was heard and is silent now: of the signer", SIGNERS, silent(0, before=ALICE), ""),
    ("it is about to end", SIGNERS, loaded(is_ending=True), ""),
]


@pytest.mark.parametrize(("reason", "demands", "pod", "expected"), PODS, ids=[case[0] for case in PODS])
def test_what_a_pod_says_that_it_has_loaded_counts_as_well(reason: str, demands: Json, pod: Pod, expected: str) -> None:
    spec = {**SEALED, "model": {"uri": "s3://models/a/", "digest": f"sha256:{HEX}"}}
    found = said(governed(spec, policy(**demands), trust=holding(ALICE), pods=(pod,)))
    assert bool(expected) == bool(found), reason
    assert expected in "".join(found)


UNREAD: list[tuple[str, Json, tuple[Pod, ...], str]] = [
    (
        "the signer of the list signed what is loaded",
        SIGNERS,
        (loaded(signer={"fingerprint": fingerprint(ALICE)}),),
        "",
    ),
    (
        "a stranger did",
        SIGNERS,
        (loaded(signer={"fingerprint": fingerprint(BOB)}),),
        "pod fraud-a has loaded a model of the signer",
    ),
    ("what is loaded was not sealed", {"requireEncryption": True}, (loaded(),), "was not sealed"),
    (
        "whoever signed it was certified by a CA of the list",
        SIGNERS,
        (loaded(signer={"fingerprint": fingerprint(BOB), "authority": fingerprint(ALICE)}),),
        "",
    ),
    ("it is silent", SIGNERS, (silent(70),), "has not said"),
    (
        "it came from elsewhere",
        {"allowedUriPrefixes": ["s3://x/"]},
        (loaded(uri="s3://x-2/a/"),),
        "from elsewhere than s3://x/",
    ),
    ("it came from below the prefix", {"allowedUriPrefixes": ["s3://x/"]}, (loaded(uri="s3://x/a/"),), ""),
    ("it does not say from where", {"allowedUriPrefixes": ["s3://x/"]}, (loaded(),), "from elsewhere than"),
    ("nothing runs", {"requireEncryption": True, **SIGNERS}, (), ""),
]


@pytest.mark.parametrize(("reason", "demands", "pods", "expected"), UNREAD, ids=[case[0] for case in UNREAD])
def test_of_a_spec_that_cannot_be_read_what_the_pods_have_loaded_counts(
    reason: str, demands: Json, pods: tuple[Pod, ...], expected: str
) -> None:
    found = rule_unread(governed({"runtime": {"threads": "4"}}, policy(**demands), pods=pods)).verdicts
    assert bool(expected) == bool(found), reason
    assert expected in "".join(verdict.message for verdict in found)


@pytest.mark.parametrize(
    ("reason", "floors", "denied"), [("while the policy holds", 1, True), ("and no longer", 0, False)]
)
def test_what_was_denied_stays_denied_under_a_spec_that_cannot_be_read(reason: str, floors: int, denied: bool) -> None:
    was = {"conditions": [{"type": "Ready", "status": "False", "reason": "ModelPolicyViolated", "message": "…"}]}
    given = make_given({"runtime": {"threads": "4"}}, status=was)
    given = replace(given, around=Surroundings({}, (policy(requireEncryption=True),) * floors, {}))
    assert rule_unread(given).denied == denied, reason


PERMITTED: list[tuple[str, list[Json], list[str] | None]] = [
    ("no policy", [], None),
    ("no policy that names signers", [{"requireVerification": True}], None),
    ("one that does", [SIGNERS, {"requireEncryption": True}], [fingerprint(ALICE)]),
    (
        "two: who is in both",
        [SIGNERS, {**SIGNERS, "trustedSigners": [fingerprint(BOB), fingerprint(ALICE)]}],
        [fingerprint(ALICE)],
    ),
    ("two that have nobody in common", [SIGNERS, {**SIGNERS, "trustedSigners": [fingerprint(BOB)]}], []),
]


@pytest.mark.parametrize(("reason", "floors", "expected"), PERMITTED, ids=[case[0] for case in PERMITTED])
def test_the_runtime_is_told_whose_keys_may_count(reason: str, floors: list[Json], expected: list[str] | None) -> None:
    given = governed(SIGNED, *(policy(f"p{number}", **floor) for number, floor in enumerate(floors)))
    boot = next(o["data"]["boot.json"] for o in drawn(given).objects if "boot.json" in o.get("data", {}))
    assert json.loads(boot)["security"]["verification"].get("signers") == expected, reason
    assert parse_boot(boot.encode()).security is not None, "the runtime reads it"


@pytest.mark.parametrize(("spec", "denied"), [(SEALED, True), (SIGNED, False), ({}, False)])
def test_a_sealed_model_of_a_tenant_that_two_namespaces_claim_does_not_serve(spec: Json, denied: bool) -> None:
    given = replace(make_given(spec), around=Surroundings(tenant_claimed_by="risk-prod"))
    found = [(verdict.reason, verdict.message) for verdict in rule(given, parsed(given)).verdicts]
    message = (
        "namespace risk has no label modelward.dev/tenant, and its name is the tenant of namespace risk-prod by label: "
        "label risk with its own tenant"
    )
    assert found == ([("TenantAmbiguous", message)] if denied else [])


def test_a_denied_model_is_scaled_to_zero_and_keeps_the_rest() -> None:
    given = governed({"scaling": {"replicas": 3}}, policy(requireEncryption=True))
    assert rule(given, parsed(given)).denied
    plan = drawn(given)
    assert plan.find("Deployment")["spec"]["replicas"] == 0
    assert plan.find("Service")


def test_a_fingerprint_is_that_of_the_der() -> None:
    """openssl pkey -pubin -outform DER | sha256sum"""
    der = base64.b64decode("".join(ALICE.split("-----")[2].split()))
    assert len(der) == 91
    assert (
        fingerprint(ALICE.replace("\n", "\r\n"))
        == fingerprint(f"\n{ALICE}\n")
        == fingerprint(ALICE)
        != fingerprint(BOB)
    )
    assert fingerprint(ALICE) == "sha256:9dae7212d9736f912ba5b77fe3a502d637571d376e55321e4f48177f8bbd63e2"


BROKEN_PEM = [
    ("a word before it", "key:\n" + ALICE),
    ("a certificate's words", ALICE.replace("PUBLIC KEY", "CERTIFICATE")),
    ("a byte less", ALICE.replace("ukg==", "uk==")),
    ("a sign that base64 has not", ALICE.replace("MFkw", "MF*w")),
    ("one character of base64 too many", ALICE.replace("ukg==", "ukgA==")),
]


@pytest.mark.parametrize(("reason", "pem"), BROKEN_PEM, ids=[case[0] for case in BROKEN_PEM])
def test_what_is_not_exactly_one_key_has_no_fingerprint(reason: str, pem: str) -> None:
    assert fingerprint(pem) == "", reason


def test_keys_under_a_policy_are_compared_again_though_no_event_tells() -> None:
    given = governed(SIGNED, policy(**SIGNERS), trust=holding(ALICE))
    assert look_again_after(given, {"conditions": []}, Applied()) == 300.0
    assert look_again_after(governed(SIGNED), {"conditions": []}, Applied()) is None
