"""What a PrivacyPolicy adds to the plan, and what becomes of a model whose policy is not there."""

import json
from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.api.parse import Invalid, parse_privacy
from modelward_operator.api.quantity import amount
from modelward_operator.facts import Given, Json, PrivacyPolicy, Surroundings
from modelward_operator.plan.config import policy_digest
from modelward_operator.policies.access.rule import access
from modelward_operator.policies.apiserver import api_volume
from modelward_operator.policies.privacy.rule import privacy
from modelward_operator.policies.rooms import rule
from modelward_operator.rulings import Slot
from tests.makers import INSTALLATION, drawn, make_given, parsed
from tests.privacy_specs import FILE, KEY, S3, privacy_policy

NAMED = {"privacy": {"policyRef": {"name": "standard"}}}
OLD = "modelward/runtime:old"


def policy(spec: str, generation: int = 3) -> PrivacyPolicy:
    """Return the policy `standard` that the YAML says."""
    found = parse_privacy(privacy_policy(spec))
    assert not isinstance(found, Invalid), found
    return PrivacyPolicy("standard", generation, found)


def under(spec: str, model: Json | None = None, generation: int = 3) -> Given:
    """Return a model under the policy that the YAML says."""
    around = Surroundings(privacy={"standard": policy(spec, generation)})
    return replace(make_given({**NAMED, **(model or {})}), around=around)


def policy_json(given: Given) -> dict[str, Any]:
    """Return the planned policy.json."""
    (text,) = (o["data"]["policy.json"] for o in drawn(given).objects if "policy.json" in o.get("data", {}))
    return dict(json.loads(text))


def pod(given: Given) -> Json:
    """Return the planned pod's spec."""
    spec: Json = drawn(given).find("Deployment")["spec"]["template"]["spec"]
    return spec


def volume(given: Given, name: str) -> tuple[Json, Json]:
    """Return a volume of the pod, and where it is mounted."""
    spec = pod(given)
    (found,) = (v for v in spec["volumes"] if v["name"] == name)
    (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == name)
    return found, mount


NUMBER = "name: score, mechanism: Laplace, lower: '0', upper: '1', epsilon: '0.5', budget: {epsilon: '9', period: Day, scope: All}"
LABEL = (
    "name: label, mechanism: RandomizedResponse, labels: [a, b], epsilon: '1', "
    "budget: {epsilon: '9', period: Month, scope: Subject}, subjectKeyRef: {name: epsilon, key: k}"
)


def test_a_privacy_budget_gets_its_ledger_and_pods_that_may_write_it_and_nothing_else() -> None:
    given = under(f"output: {{differentialPrivacy: {{{NUMBER}}}}}")
    plan = drawn(given)
    (ledger,) = plan.ledgers
    assert ("standard-all", {"policy": "standard", "shard": "all"}) == (ledger["metadata"]["name"], ledger["spec"])
    assert "ownerReferences" not in ledger["metadata"], "a deletion would give the budget back"
    role, binding = (o for o in plan.objects if o["metadata"]["name"] == "fraud-spend")
    assert {("get", "spend"), ("update",)} == {tuple(rule["verbs"]) for rule in role["rules"]}
    assert all(rule["resourceNames"] == ["standard-all"] for rule in role["rules"])
    assert [{"kind": "ServiceAccount", "name": "fraud", "namespace": given.key.namespace}] == binding["subjects"]
    assert "projected" in volume(given, "api")[0]
    place = policy_json(given)["privacy"]["output"]["differentialPrivacy"]["ledger"]
    assert ("standard", given.key.namespace) == (place["policy"], place["namespace"])
    assert "keyFile" not in place


def test_two_rooms_that_ask_the_api_server_want_one_and_the_same_volume() -> None:
    given = under(f"output: {{differentialPrivacy: {{{NUMBER}}}}}")
    for room in (access, privacy):
        assert api_volume() in room(given, parsed(given)).additions


def test_budgets_by_caller_have_sixteen_shards_and_a_key_that_only_the_kubelet_reads() -> None:
    given = under(f"output: {{differentialPrivacy: {{{LABEL}}}}}")
    assert [f"standard-{digit}" for digit in "0123456789abcdef"] == [
        o["metadata"]["name"] for o in drawn(given).ledgers
    ]
    found, mount = volume(given, "epsilon-key")
    assert ("epsilon", [{"key": "k", "path": "key"}]) == (found["secret"]["secretName"], found["secret"]["items"])
    section = policy_json(given)["privacy"]["output"]["differentialPrivacy"]
    assert f"{mount['mountPath']}/key" == section["ledger"]["keyFile"]
    assert "subjectKeyRef" not in section


def test_without_a_budget_there_is_neither_ledger_nor_right() -> None:
    plan = drawn(under("{output: {tensors: [{name: p, drop: true}]}}"))
    assert ((), []) == (plan.ledgers, [o for o in plan.objects if o["metadata"]["name"] == "fraud-spend"])


@pytest.mark.parametrize(("rules", "denied"), [(LABEL, True), (NUMBER, False)], ids=["each caller", "all callers"])
def test_a_budget_for_each_caller_is_denied_where_nobody_asks_who_calls(rules: str, denied: bool) -> None:
    given = under(f"output: {{differentialPrivacy: {{{rules}}}}}", {"security": {"authentication": {"mode": "None"}}})
    ruling = rule(given, parsed(given))
    assert denied == ("CallersUnknown" in {verdict.reason for verdict in ruling.verdicts})


def test_the_sections_are_those_of_the_contract() -> None:
    given = under(
        """
        input:
          maxElements: 100000
          maxTextBytes: 1048576
          tensors:
            - {name: input, nonFinite: Reject, columns: [{indices: [0, 3], names: [age], minimum: "0", maximum: "120"}]}
          pii: [{kinds: [Email], tensors: [text], action: Hash}]
          hashKeyRef: {name: pii, key: secret}
        output:
          tensors: [{name: probabilities, topK: 3, decimals: 0}, {name: logits, drop: true}]
          perturbation: [{name: probabilities, distribution: Gaussian, scale: "0.01"}]
        logging: {mode: Redacted, samplePercent: 5, sink: {type: Stdout}}
        audit:
          required: true
          durability: Synchronous
          sink: {type: S3, s3: {uri: s3://audit/risk/, region: eu-central-1, secretRef: {name: s}, caBundleRef: {name: ca}}}
          retention: {minDays: 183, maxDays: 365}
          signingKeyRef: {name: audit, key: key.pem}
          inputHashKeyRef: {name: audit, key: hash}
        """
    )
    found = policy_json(given)
    assert len(found.pop("generation")) == 12
    assert found == {
        "apiVersion": "runtime/v1",
        "kind": "Policy",
        "privacy": {
            "policy": "standard",
            "policyGeneration": 3,
            "input": {
                "maxElements": 100000,
                "maxTextBytes": 1048576,
                "tensors": [
                    {
                        "name": "input",
                        "nonFinite": "Reject",
                        "columns": [{"indices": [0, 3], "names": ["age"], "minimum": "0", "maximum": "120"}],
                    }
                ],
                "pii": [{"kinds": ["Email"], "tensors": ["text"], "action": "Hash"}],
                "hashKeyFile": "/etc/modelward/privacy/key",
            },
            "output": {
                "tensors": [{"name": "probabilities", "topK": 3, "decimals": 0}, {"name": "logits", "drop": True}],
                "perturbation": [{"name": "probabilities", "distribution": "Gaussian", "scale": "0.01"}],
            },
        },
        "logging": {"mode": "Redacted", "samplePercent": 5, "sink": {"type": "Stdout"}},
        "audit": {
            "required": True,
            "durability": "Synchronous",
            "sink": {
                "type": "S3",
                "uri": "s3://audit/risk/",
                "region": "eu-central-1",
                "caBundleFile": "/etc/modelward/audit-ca/ca.crt",
            },
            "retention": {"minDays": 183, "maxDays": 365},
            "signingKeyFile": "/etc/modelward/audit/key.pem",
            "inputHashKeyFile": "/etc/modelward/audit-hash/key",
            "checkpointRecords": 1000,
            "checkpointSeconds": 60,
        },
    }


def test_the_generation_follows_the_policy_and_only_its_needs_roll_the_pods() -> None:
    one, two = under("{input: {maxElements: 10}}"), under("{input: {maxElements: 9}}", generation=4)
    assert policy_digest(drawn(one)) != policy_digest(drawn(two))
    assert pod(one) == pod(two)
    assert pod(one) == pod(make_given()), "a policy without keys and sinks needs nothing of the pod"
    assert pod(one) != pod(under("{input: {pii: [{kinds: [IBAN], action: Hash}], hashKeyRef: {name: a, key: b}}}"))


@pytest.mark.parametrize(
    ("name", "where", "secret", "key", "file"),
    [
        ("privacy-key", "/etc/modelward/privacy", "pii", "k1", "key"),
        ("audit-key", "/etc/modelward/audit", "audit", "signing", "key.pem"),
        ("audit-hash-key", "/etc/modelward/audit-hash", "audit", "hash", "key"),
    ],
)
def test_a_key_is_one_file_of_one_secret(name: str, where: str, secret: str, key: str, file: str) -> None:
    given = under(
        "{input: {pii: [{kinds: [IBAN], action: Hash}], hashKeyRef: {name: pii, key: k1}}, "
        "audit: {sink: {type: Stdout}, signingKeyRef: {name: audit, key: signing}, inputHashKeyRef: {name: audit, key: hash}}}"
    )
    found, mount = volume(given, name)
    items = [{"key": key, "path": file}]
    assert found == {"name": name, "secret": {"secretName": secret, "items": items, "defaultMode": 0o444}}
    assert mount == {"name": name, "mountPath": where, "readOnly": True}


SINKS: list[tuple[str, str, Json, Json]] = [
    # why this row, the sink, the volume's source, what the pod's security context gains
    ("a folder that goes with the pod", FILE, {"emptyDir": {"sizeLimit": "1Gi"}}, {}),
    (
        "one of another size, in the API server's spelling",
        "sink: {type: File, file: {sizeLimit: 2048Mi}}",
        {"emptyDir": {"sizeLimit": "2Gi"}},
        {},
    ),
    (
        "a claim, which the kubelet gives to the pod's group",
        "sink: {type: File, file: {claimName: logs}}",
        {"persistentVolumeClaim": {"claimName": "logs"}},
        {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"},
    ),
]


@pytest.mark.parametrize(("reason", "sink", "source", "group"), SINKS, ids=[row[0] for row in SINKS])
@pytest.mark.parametrize(
    ("section", "where"), [("audit", "/var/log/modelward/audit"), ("logging", "/var/log/modelward/requests")]
)
def test_files_have_a_volume_that_the_pod_may_write(
    reason: str, sink: str, source: Json, group: Json, section: str, where: str
) -> None:
    given = under(f"{{{section}: {{{KEY if section == 'audit' else 'mode: Metadata'}, {sink}}}}}")
    found, mount = volume(given, f"{section}-log")
    assert found == {"name": f"{section}-log", **source}, reason
    assert mount == {"name": f"{section}-log", "mountPath": where}
    assert policy_json(given)[section]["sink"]["directory"] == where
    before = pod(make_given())["securityContext"]
    assert pod(given)["securityContext"] == {**before, **group}


GIB = 2**30
FOLDER, CLAIM = "sink: {type: File, file: {sizeLimit: 2Gi}}", "sink: {type: File, file: {claimName: a}}"
BOUNDS: list[tuple[str, str, str, int | None, int | None]] = [
    # why this row, the audit, the payload log's sink, the bytes at which the pod would be evicted for either
    ("a required audit must not be deleted by calls", f"required: true, {FOLDER}", FILE, 2 * GIB, GIB),
    ("nor by the log beside it", f"required: true, {S3}", FOLDER, None, 2 * GIB),
    ("a claim has its own end", f"required: true, {CLAIM}", FILE, None, GIB),
    ("neither has one that the kubelet sets", f"required: true, {CLAIM}", CLAIM, None, None),
    ("nobody asked for it, and what pods read stays as it was", FILE, FILE, None, None),
]


@pytest.mark.parametrize(("reason", "audit", "log", "audit_bytes", "log_bytes"), BOUNDS, ids=[row[0] for row in BOUNDS])
def test_the_pod_knows_where_the_kubelet_would_delete_a_required_log(
    reason: str, audit: str, log: str, audit_bytes: int | None, log_bytes: int | None
) -> None:
    given = under(f"{{audit: {{{KEY}, {audit}}}, logging: {{mode: Metadata, {log}}}}}")
    found = policy_json(given)
    assert audit_bytes == found["audit"]["sink"].get("sizeLimitBytes"), reason
    assert log_bytes == found["logging"]["sink"].get("sizeLimitBytes"), reason
    for section, expected in (("audit", audit_bytes), ("logging", log_bytes)):
        source, _ = volume(given, f"{section}-log") if found[section]["sink"]["type"] == "File" else ({}, {})
        if expected is not None:
            assert expected == amount(source["emptyDir"]["sizeLimit"]), "what the kubelet goes by"


@pytest.mark.parametrize(
    ("reason", "model", "image", "may_upgrade", "is_told"),
    [
        (
            "an upgrade of the operator leaves the image, which refuses fields that it does not know",
            {},
            OLD,
            False,
            False,
        ),
        ("its turn has come", {}, OLD, True, True),
        ("it runs this release's image", {}, INSTALLATION.runtime_image, False, True),
        ("what its owner named may be of any release", {"runtime": {"image": OLD}}, OLD, True, False),
        ("or of this one", {"runtime": {"image": INSTALLATION.runtime_image}}, INSTALLATION.runtime_image, False, True),
    ],
)
def test_only_this_releases_image_is_told_what_its_folder_may_hold(
    reason: str, model: Json, image: str, may_upgrade: bool, is_told: bool
) -> None:
    sink = "sink: {type: File, file: {sizeLimit: 1Gi}}"
    given = under(f"{{audit: {{{KEY}, required: true, {sink}}}, logging: {{mode: Metadata, {sink}}}}}", model)
    live = drawn(given).find("Deployment")
    raw = {**given.raw, "status": {"effective": {"image": image}}}
    found = policy_json(replace(given, raw=raw, children=(live,), may_upgrade=may_upgrade))
    told = {"sizeLimitBytes" in found[section]["sink"] for section in ("audit", "logging")}
    assert {is_told} == told, reason


def test_a_store_has_credentials_of_its_own_and_a_way_out() -> None:
    storage = {"model": {"uri": "s3://models/a/", "storage": {"secretRef": {"name": "read"}}}}
    own = "sink: {type: S3, s3: {uri: s3://log/, endpoint: 'https://minio:9000', secretRef: {name: log-s3}}}"
    given = under(f"{{audit: {{{KEY}, {S3}}}, logging: {{mode: Metadata, {own}}}}}", storage)
    found = {
        e["name"]: (e["valueFrom"]["secretKeyRef"]["name"], e["valueFrom"]["secretKeyRef"]["key"])
        for e in pod(given)["containers"][0]["env"]
        if "secretKeyRef" in e.get("valueFrom", {})
    }
    prefixes = {"": "read", "MODELWARD_AUDIT_": "audit-s3", "MODELWARD_LOGGING_": "log-s3"}
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    assert found == {f"{prefix}{key}": (secret, key) for prefix, secret in prefixes.items() for key in keys}
    ruling = rule(given, parsed(given))
    assert {"https://audit.s3.us-east-1.amazonaws.com", "https://minio:9000"} <= {*ruling.names(Slot.EGRESS)}
    assert not ruling.denied


def test_a_log_that_is_off_is_absent() -> None:
    assert "logging" not in policy_json(under("{logging: {mode: None}}"))
    assert {"apiVersion", "kind", "generation"} == policy_json(make_given()).keys()


def test_a_model_whose_policy_is_not_there_does_not_serve() -> None:
    given = make_given(NAMED)
    (verdict,) = rule(given, parsed(given)).verdicts
    assert (verdict.type, verdict.reason) == ("PrivacyEnforced", "PrivacyPolicyNotFound")
    assert verdict.message.startswith("PrivacyPolicy standard does not exist in namespace risk")
    assert drawn(given).find("Deployment")["spec"]["replicas"] == 0


def test_pods_that_drain_keep_the_rules_that_they_had() -> None:
    before = under(f"{{input: {{maxElements: 10}}, audit: {{{KEY}, {FILE}}}}}")
    (config,) = (o for o in drawn(before).objects if "policy.json" in o.get("data", {}))
    after = make_given(NAMED, children=(config,))
    assert policy_json(after) == policy_json(before)


@pytest.mark.parametrize("text", ["{", "[]", '{"privacy": ', "null", "[" * 100_000])
def test_what_was_edited_by_hand_keeps_nobody_from_ending(text: str) -> None:
    config = {"kind": "ConfigMap", "metadata": {"name": "fraud-policy"}, "data": {"policy.json": text}}
    given = make_given(NAMED, children=(config,))
    assert rule(given, parsed(given)).denied
    assert "privacy" not in policy_json(given)


def test_a_serving_image_is_chosen_anew_when_a_policy_is_named() -> None:
    """A runtime that was chosen before may not know how to enforce one."""
    plain, named = make_given(), under("{input: {maxElements: 10}}")
    notes = [drawn(given).find("Deployment")["metadata"]["annotations"] for given in (plain, named)]
    assert notes[0]["modelward.dev/template-inputs"] != notes[1]["modelward.dev/template-inputs"]
