"""Weakening what protects a live model takes the verb `relax`, on a real API server: each edge, both ways."""

import itertools
from typing import Any

import pytest
import yaml

from tests.integration.apiserver import ApiServer
from tests.integration.guard import MERGE, allow, guard, refusal, until_refused
from tests.integration.relaxing import API, NAMESPACE_CONTROLLER, NOT_THERE, WRITE, Place
from tests.integration.rest import Json, request
from tests.privacy_specs import privacy_policy
from tests.specs import TRUST, URI, model

POLICY_WORDS = (
    "may be deleted, given an owner, or changed otherwise than by tightening its numbers or adding rules, "
    "only by who may `relax`"
)
COLLECTOR = {"Impersonate-User": "system:serviceaccount:kube-system:generic-garbage-collector"}
ADMIN = {"Impersonate-User": "root", "Impersonate-Group": "system:masters"}
EDITOR = {"Impersonate-User": "relax-editor"}
OFFICER = {"Impersonate-User": "relax-officer"}
OPERATOR = {"Impersonate-User": "relax-operator"}
_numbers = itertools.count(1)

SEALED = (
    "security: {encryption: {mode: Required, keyRef: {provider: Secret, name: kek}}, "
    f"verification: {{mode: Required, {TRUST}}}}}"
)
STRICT = """
input:
  maxElements: 100
  maxTextBytes: 1000
  tensors: [{name: x, minimum: "0", maximum: "9.5"}, {name: y, action: Zero}]
  pii: [{kinds: [Email], action: Hash}]
  hashKeyRef: {name: pii, key: key}
output:
  tensors: [{name: p, topK: 3, decimals: 2}, {name: q, labelOnly: true}]
  perturbation: [{name: p, distribution: Laplace, scale: "0.1"}]
logging: {mode: Metadata, samplePercent: 50, sink: {type: File, file: {claimName: logs}}, retention: {minDays: 1, maxDays: 30}}
audit:
  sink: {type: File, file: {claimName: audit}}
  signingKeyRef: {name: audit, key: key.pem}
  checkpointRecords: 100
  checkpointSeconds: 60
"""
X, Y = '{name: x, minimum: "0", maximum: "9.5"}', "{name: y, action: Zero}"
P, Q = "{name: p, topK: 3, decimals: 2}", "{name: q, labelOnly: true}"

ISSUER = "{issuer: 'https://a', audiences: [models], jwksUri: 'https://a/keys', algorithms: [RS256]}"
JWT = yaml.safe_load(f"{{mode: JWT, jwt: {ISSUER}}}")
NOBODY = {"security": {"authentication": {"mode": "None"}}}


def caller(authentication: str) -> str:
    """Return the YAML of a spec's `security` with this authentication."""
    return f"security: {{authentication: {{{authentication}}}}}"


def subjects(*names: str) -> Json:
    """Return a patch that lets these ServiceAccounts in."""
    found = [{"kind": "ServiceAccount", "name": name, "namespace": "shop"} for name in names]
    return {"security": {"authentication": {"allowedSubjects": found}}}


ONE = caller("allowedSubjects: [{kind: ServiceAccount, name: checkout, namespace: shop}]")
TWO = caller("allowedSubjects: [{kind: User, name: jane}, {kind: ServiceAccount, name: checkout, namespace: shop}]")

CHANGES: list[tuple[str, str, bool]] = [
    # why this row, a merge patch of STRICT, whether it tightens and nothing else
    ("fewer values", "input: {maxElements: 99}", True),
    ("more values", "input: {maxElements: 101}", False),
    ("as many values as one likes", "input: {maxElements: null}", False),
    ("less text", "input: {maxTextBytes: 1}", True),
    ("more text", "input: {maxTextBytes: 1001}", False),
    ("text without end", "input: {maxTextBytes: null}", False),
    ("a narrower range", f'input: {{tensors: [{{name: x, minimum: "0.5", maximum: "9.25"}}, {Y}]}}', True),
    (
        "a lower least value, of more digits",
        f'input: {{tensors: [{{name: x, minimum: "-10", maximum: "9.5"}}, {Y}]}}',
        False,
    ),
    (
        "a greater greatest value, smaller as text",
        f'input: {{tensors: [{{name: x, minimum: "0", maximum: "10"}}, {Y}]}}',
        False,
    ),
    ("a range with one end", f'input: {{tensors: [{{name: x, minimum: "0"}}, {Y}]}}', False),
    ("a tensor without its rule", f"input: {{tensors: [{Y}]}}", False),
    ("a rule for one more tensor", f"input: {{tensors: [{X}, {Y}, {{name: z, action: Drop}}]}}", True),
    (
        "infinity refused",
        f'input: {{tensors: [{{name: x, minimum: "0", maximum: "9.5", nonFinite: Reject}}, {Y}]}}',
        True,
    ),
    (
        "not-a-number allowed",
        f'input: {{tensors: [{{name: x, minimum: "0", maximum: "9.5", nonFinite: Allow}}, {Y}]}}',
        False,
    ),
    ("another order", f"input: {{tensors: [{Y}, {X}]}}", True),
    ("another action", f"input: {{tensors: [{X}, {{name: y, action: Drop}}]}}", False),
    (
        "columns, which no number says",
        f"input: {{tensors: [{X}, {{name: y, columns: [{{indices: [0], action: Zero}}]}}]}}",
        False,
    ),
    ("another kind of personal data", "input: {pii: [{kinds: [Phone], action: Hash}]}", False),
    ("a mask instead of a hash", "input: {pii: [{kinds: [Email], action: Mask}], hashKeyRef: null}", False),
    ("another key", "input: {hashKeyRef: {name: other}}", False),
    ("no input rules", "input: null", False),
    ("fewer scores", f"output: {{tensors: [{{name: p, topK: 1, decimals: 2}}, {Q}]}}", True),
    ("more scores", f"output: {{tensors: [{{name: p, topK: 4, decimals: 2}}, {Q}]}}", False),
    ("all scores", f"output: {{tensors: [{{name: p, decimals: 2}}, {Q}]}}", False),
    ("fewer decimals", f"output: {{tensors: [{{name: p, topK: 3, decimals: 0}}, {Q}]}}", True),
    ("more decimals", f"output: {{tensors: [{{name: p, topK: 3, decimals: 3}}, {Q}]}}", False),
    ("every decimal", f"output: {{tensors: [{{name: p, topK: 3}}, {Q}]}}", False),
    ("scores of what was a label", f"output: {{tensors: [{P}, {{name: q, topK: 1}}]}}", False),
    ("one more output dropped", f"output: {{tensors: [{P}, {Q}, {{name: r, drop: true}}]}}", True),
    ("more noise", 'output: {perturbation: [{name: p, distribution: Laplace, scale: "0.2"}]}', True),
    ("less noise", 'output: {perturbation: [{name: p, distribution: Laplace, scale: "0.05"}]}', False),
    ("other noise", 'output: {perturbation: [{name: p, distribution: Uniform, scale: "0.1"}]}', False),
    ("no noise", "output: {perturbation: null}", False),
    ("no output rules", "output: null", False),
    ("a log of less", "logging: {samplePercent: 1}", False),
    ("a log of more", "logging: {mode: Redacted}", False),
    ("a log that is deleted sooner", "logging: {retention: {maxDays: 7}}", False),
    ("no log", "logging: null", False),
    ("an audit that is required", "audit: {required: true}", True),
    ("an audit that nothing passes by", "audit: {required: true, durability: Synchronous}", True),
    ("checkpoints more often", "audit: {checkpointRecords: 10, checkpointSeconds: 1}", True),
    ("checkpoints after more records", "audit: {checkpointRecords: 101}", False),
    ("checkpoints after more time", "audit: {checkpointSeconds: 61}", False),
    ("another signing key", "audit: {signingKeyRef: {name: mine}}", False),
    ("another sink", "audit: {sink: {type: Stdout, file: null}}", False),
    ("an audit that is deleted", "audit: {retention: {maxDays: 1}}", False),
    ("inputs as hashes", "audit: {inputHashKeyRef: {name: a, key: b}}", False),
    ("no audit", "audit: null", False),
    ("one tightened and one loosened", "{input: {maxElements: 1}, output: {perturbation: null}}", False),
]
"""Every row that is not let through for the editor is let through for the officer."""


@pytest.fixture(scope="module")
def people(server: ApiServer) -> ApiServer:
    """`editor` may write models and policies; `officer` may relax them as well, by the chart's own ClusterRole."""
    guard(server)
    both: Json = {"apiGroups": ["modelward.dev"], "resources": ["modeldeployments", "privacypolicies"], "verbs": WRITE}
    status: Json = {"apiGroups": ["modelward.dev"], "resources": ["modeldeployments/status"], "verbs": ["patch"]}
    files: Json = {"apiGroups": [""], "resources": ["configmaps"], "verbs": WRITE}
    for who in (EDITOR, OFFICER, SERVICE_ACCOUNT):
        allow(server, who["Impersonate-User"], both, files)
    allow(server, OPERATOR["Impersonate-User"], status)
    probe = Place(server, "relax-probe", OFFICER)
    probe.make(privacy_policy(STRICT))
    probe.make(model(f"{{{URI}, privacy: {{policyRef: {{name: a}}}}}}", "fraud"))
    until_refused(lambda: probe.change("privacypolicies/table", {"input": None}, EDITOR), POLICY_WORDS)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": OURS}, "data": FILE}
    request(server, "POST", "/api/v1/namespaces/relax-probe/configmaps", config)
    removal = "/api/v1/namespaces/relax-probe/configmaps/a?dryRun=All"
    until_refused(lambda: request(server, "DELETE", removal, headers=EDITOR), "policy.json")
    until_refused(lambda: probe.change("modeldeployments/fraud", {"privacy": None}, EDITOR), "policyRef")
    return server


@pytest.fixture(scope="module")
def strict(people: ApiServer) -> Place:
    """A namespace with the policy STRICT, which no test changes."""
    place = Place(people, "relax-strict", OFFICER)
    place.make(privacy_policy(STRICT))
    return place


@pytest.fixture
def place(people: ApiServer) -> Place:
    """A namespace of the test's own, with the policy STRICT."""
    made = Place(people, f"relax-{next(_numbers)}", OFFICER)
    made.make(privacy_policy(STRICT))
    return made


@pytest.mark.parametrize(("reason", "patch", "tightens"), CHANGES, ids=[row[0] for row in CHANGES])
def test_a_policy_is_changed_without_the_right_only_where_it_tightens(
    reason: str, patch: str, tightens: bool, strict: Place
) -> None:
    change = yaml.safe_load(patch)
    said = refusal(lambda: strict.change("privacypolicies/table", change, EDITOR))
    assert tightens == (said == ""), f"{reason}: {said}"
    assert tightens or POLICY_WORDS in said
    assert refusal(lambda: strict.change("privacypolicies/table", change, OFFICER)) == "", reason
    assert refusal(lambda: strict.change("privacypolicies/table", change, ADMIN)) == "", reason


S3 = "{type: S3, s3: {uri: 's3://evil/x/', endpoint: 'https://evil.example', secretRef: {name: mine}}}"
BEGUN: list[tuple[str, str, bool]] = [
    # why this row, a merge patch of a policy with neither audit nor log, whether it goes through without the right
    ("an audit into a file", "audit: {sink: {type: File}, signingKeyRef: {name: a, key: k}}", True),
    ("an audit into the pod's output", "audit: {sink: {type: Stdout}, signingKeyRef: {name: a, key: k}}", True),
    ("an audit that goes abroad", f"audit: {{sink: {S3}, signingKeyRef: {{name: a, key: k}}}}", False),
    (
        "an audit with hashes whose key one knows",
        "audit: {sink: {type: File}, signingKeyRef: {name: a, key: k}, inputHashKeyRef: {name: mine, key: known}}",
        False,
    ),
    ("a log into the pod's output", "logging: {mode: Metadata, sink: {type: Stdout}}", False),
    ("a log that goes abroad", f"logging: {{mode: Metadata, sink: {S3}}}", False),
]


@pytest.mark.parametrize(("reason", "patch", "free"), BEGUN, ids=[row[0] for row in BEGUN])
def test_records_are_begun_without_the_right_only_where_they_stay(
    reason: str, patch: str, free: bool, people: ApiServer
) -> None:
    place = Place(people, f"relax-{next(_numbers)}", OFFICER)
    place.make(privacy_policy("{input: {maxElements: 100}}"))
    begun = yaml.safe_load(patch)
    said = refusal(lambda: place.change("privacypolicies/table", begun, EDITOR))
    assert free == (said == ""), f"{reason}: {said}"
    assert free or POLICY_WORDS in said
    assert refusal(lambda: place.change("privacypolicies/table", begun, OFFICER)) == "", reason


def test_rules_are_added_without_the_right_but_no_log(people: ApiServer) -> None:
    place = Place(people, f"relax-{next(_numbers)}", OFFICER)
    place.make(privacy_policy("{output: {tensors: [{name: p, decimals: 3}]}}"))
    strict = yaml.safe_load(STRICT)
    added = {key: strict[key] for key in ("input", "audit")}
    assert refusal(lambda: place.change("privacypolicies/table", added, EDITOR)) == ""
    said = refusal(lambda: place.change("privacypolicies/table", {"logging": strict["logging"]}, EDITOR))
    assert POLICY_WORDS in said, "a log that is begun keeps what was not kept"


def test_what_leaves_the_spec_alone_goes_through(place: Place) -> None:
    labels = {"metadata": {"labels": {"team": "risk"}, "finalizers": ["example.com/wait"]}}
    place.patch("privacypolicies/table", labels, EDITOR)
    place.patch("privacypolicies/table", {"metadata": {"finalizers": None}}, EDITOR)


DELETES: list[tuple[str, Json, bool]] = [
    ("an editor", EDITOR, False),
    ("who may relax it", OFFICER, True),
    ("an administrator", ADMIN, True),
    ("the namespace controller, or no namespace would end", NAMESPACE_CONTROLLER, True),
    ("the garbage collector: nothing of ours owns a policy", COLLECTOR, False),
]


@pytest.mark.parametrize(("who", "allowed"), [(EDITOR, False), (COLLECTOR, False), (OFFICER, True)])
def test_a_policy_is_given_an_owner_or_loses_one_only_with_the_right(who: Json, allowed: bool, place: Place) -> None:
    given, freed = ({"metadata": {"ownerReferences": owners}} for owners in ([NOT_THERE], None))
    first = refusal(lambda: place.patch("privacypolicies/table", given, who))
    place.patch("privacypolicies/table", given, ADMIN)
    second = refusal(lambda: place.patch("privacypolicies/table", freed, who))
    for said in (first, second):
        assert allowed == (said == ""), said
        assert allowed or POLICY_WORDS in said


@pytest.mark.parametrize(("reason", "who", "allowed"), DELETES, ids=[row[0] for row in DELETES])
def test_a_policy_is_deleted_by(reason: str, who: Json, allowed: bool, place: Place) -> None:
    said = refusal(lambda: place.delete("privacypolicies/table", who))
    assert allowed == (said == ""), f"{reason}: {said}"
    assert allowed or POLICY_WORDS in said


@pytest.mark.parametrize(
    ("who", "allowed"), [(EDITOR, False), (NAMESPACE_CONTROLLER, True)], ids=["editor", "controller"]
)
def test_nor_are_all_of_them_at_once(who: Json, allowed: bool, place: Place) -> None:
    said = refusal(lambda: place.delete("privacypolicies", who))
    assert allowed == (said == ""), said


def test_the_right_in_one_namespace_is_none_in_another(people: ApiServer, place: Place) -> None:
    other = Place(people, f"relax-{next(_numbers)}")
    other.make(privacy_policy(STRICT))
    assert POLICY_WORDS in refusal(lambda: other.delete("privacypolicies/table", OFFICER))


MODELS: list[tuple[str, str, Any, bool]] = [
    # why this row, the model before, a merge patch of its spec, whether it goes through without the right
    ("another policy", "privacy: {policyRef: {name: a}}", {"privacy": {"policyRef": {"name": "b"}}}, False),
    ("no policy", "privacy: {policyRef: {name: a}}", {"privacy": None}, False),
    ("a policy where there was none", "suspend: false", {"privacy": {"policyRef": {"name": "a"}}}, True),
    (
        "anything else under a policy",
        "privacy: {policyRef: {name: a}}",
        {"model": {"version": "8"}, "suspend": True},
        True,
    ),
    ("no encryption", SEALED, {"security": {"encryption": None}}, False),
    ("encryption that is off", SEALED, {"security": {"encryption": {"mode": "Disabled", "keyRef": None}}}, False),
    ("another key", SEALED, {"security": {"encryption": {"keyRef": {"name": "mine"}}}}, False),
    ("encryption where it was off", "security: {encryption: {mode: Disabled}}", yaml.safe_load(f"{{{SEALED}}}"), True),
    ("anything else of a sealed model", SEALED, {"model": {"version": "8"}}, True),
    ("nobody is asked any more, where nothing was written", "suspend: false", NOBODY, False),
    ("nobody is asked any more", caller("mode: TokenReview"), NOBODY, False),
    ("TokenReview, written out", "suspend: false", {"security": {"authentication": {"mode": "TokenReview"}}}, True),
    ("another audience", "suspend: false", {"security": {"authentication": {"audience": "kubernetes"}}}, False),
    ("an issuer's tokens in place of the cluster's", "suspend: false", {"security": {"authentication": JWT}}, False),
    (
        "another issuer",
        caller(f"mode: JWT, jwt: {ISSUER}"),
        {"security": {"authentication": {"jwt": {"issuer": "https://b"}}}},
        False,
    ),
    ("somebody is let in", "suspend: false", subjects("checkout"), False),
    ("somebody more is let in", ONE, subjects("checkout", "till"), False),
    ("somebody is let in no more", TWO, subjects("checkout"), True),
    ("nobody is let in by the model", TWO, {"security": {"authentication": None}}, True),
    ("somebody else is let in", ONE, subjects("till"), False),
    (
        "callers are asked from now on",
        caller("mode: None"),
        {"security": {"authentication": {"mode": "TokenReview"}}},
        True,
    ),
    (
        "callers are asked from now on, as when nothing is written",
        caller("mode: None"),
        {"security": {"authentication": None}},
        True,
    ),
]


@pytest.mark.parametrize(("reason", "before", "patch", "allowed"), MODELS, ids=[row[0] for row in MODELS])
def test_what_protects_a_model_is_weakened_only_with_the_right(
    reason: str, before: str, patch: Any, allowed: bool, place: Place
) -> None:
    place.make(model(f"{{{URI}, {before}}}", "fraud"))
    said = refusal(lambda: place.change("modeldeployments/fraud", patch, EDITOR))
    assert allowed == (said == ""), f"{reason}: {said}"
    assert allowed or "only by who may `relax` modeldeployments.modelward.dev" in said
    assert refusal(lambda: place.change("modeldeployments/fraud", patch, OFFICER)) == "", reason


def test_the_operator_tells_the_status_without_the_right(place: Place) -> None:
    place.make(model(f"{{{URI}, privacy: {{policyRef: {{name: a}}}}}}", "fraud"))
    told = place.patch(
        "modeldeployments/fraud/status", {"status": {"privacy": {"policy": "a", "generation": 1}}}, OPERATOR
    )
    assert told["status"]["privacy"] == {"policy": "a", "generation": 1}


FILE = {"policy.json": "{}"}
BOOT = {"boot.json": "{}"}
FILE_WORDS = "a policy.json or boot.json is written by the operator alone"
OURS = {"app.kubernetes.io/managed-by": "modelward"}
SERVICE_ACCOUNT = {"Impersonate-User": "system:serviceaccount:modelward-system:modelward-operator"}
OWNER = {
    "apiVersion": "modelward.dev/v1alpha1",
    "kind": "ModelDeployment",
    "name": "fraud",
    "uid": "00000000-0000-0000-0000-000000000001",
    "controller": True,
}
FILES: list[tuple[str, Json, Json, Json, bool]] = [
    # why this row, who, what lies there, a merge patch of it (empty: it is deleted), whether it goes through
    ("an editor loosens what pods read", EDITOR, FILE, {"data": {"policy.json": "{ }"}}, False),
    ("an editor hides it first", EDITOR, FILE, {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}, False),
    ("an editor deletes it", EDITOR, FILE, {}, False),
    ("an editor has it deleted", EDITOR, FILE, {"metadata": {"ownerReferences": [NOT_THERE]}}, False),
    ("an editor keeps it past its model", EDITOR, FILE, {"metadata": {"ownerReferences": None}}, False),
    ("an editor holds up its end", EDITOR, FILE, {"metadata": {"finalizers": ["example.com/wait"]}}, False),
    ("an editor freezes it", EDITOR, FILE, {"immutable": True}, False),
    ("an annotation is nobody's business", EDITOR, FILE, {"metadata": {"annotations": {"a": "b"}}}, True),
    (
        "another file of ours is repaired, not guarded",
        EDITOR,
        {"ca.crt": "{}"},
        {"data": {"ca.crt": "{ }"}},
        True,
    ),
    ("an editor makes one of another file", EDITOR, {"ca.crt": "{}"}, {"data": FILE}, False),
    ("an editor changes what pods start with", EDITOR, BOOT, {"data": {"boot.json": "{ }"}}, False),
    ("an editor deletes it, to put another there", EDITOR, BOOT, {}, False),
    ("who may relax", OFFICER, FILE, {"data": {"policy.json": "{ }"}}, True),
    ("who may relax gives it an owner", OFFICER, FILE, {"metadata": {"ownerReferences": [NOT_THERE]}}, True),
    ("the operator", SERVICE_ACCOUNT, FILE, {"data": {"policy.json": "{ }"}}, True),
    ("the operator prunes", SERVICE_ACCOUNT, FILE, {}, True),
    ("the garbage collector, whose model is gone", COLLECTOR, FILE, {}, True),
    (
        "the garbage collector, whose model leaves it behind",
        COLLECTOR,
        FILE,
        {"metadata": {"ownerReferences": None}},
        True,
    ),
    ("the namespace controller", NAMESPACE_CONTROLLER, FILE, {}, True),
]


def put_file(place: Place, name: str, body: Json, who: Json, **metadata: Any) -> str:
    """Create a ConfigMap; return the refusal, or an empty string."""
    path = f"/api/v1/namespaces/{place.name}/configmaps"
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, **body}
    return refusal(lambda: request(place.server, "POST", path, config, headers=who))


@pytest.mark.parametrize(("reason", "who", "data", "patch", "allowed"), FILES, ids=[row[0] for row in FILES])
def test_what_pods_read_is_the_operators_word(
    reason: str, who: Json, data: Json, patch: Json, allowed: bool, place: Place
) -> None:
    put_file(place, "fraud-policy", {"data": data}, SERVICE_ACCOUNT, labels=OURS, ownerReferences=[OWNER])
    path = f"/api/v1/namespaces/{place.name}/configmaps/fraud-policy"
    method, body = ("PATCH", patch) if patch else ("DELETE", None)
    said = refusal(lambda: request(place.server, method, path, body, headers={**who, **MERGE}))
    assert allowed == (said == ""), f"{reason}: {said}"
    assert allowed or FILE_WORDS in said


COLLECTED: list[tuple[str, list[Json], bool]] = [
    ("what has the operator's owner", [OWNER], True),
    ("what has none", [], False),
    ("what has another", [NOT_THERE], False),
    ("what has another as well", [OWNER, NOT_THERE], False),
    ("what has another model", [{**OWNER, "name": "other"}], False),
    ("what the owner does not control", [{**OWNER, "controller": False}], False),
]


@pytest.mark.parametrize(("reason", "owners", "allowed"), COLLECTED, ids=[row[0] for row in COLLECTED])
def test_the_garbage_collector_deletes_what_pods_read_only_as_the_operator_made_it(
    reason: str, owners: list[Json], allowed: bool, place: Place
) -> None:
    put_file(place, "fraud-policy", {"data": FILE}, ADMIN, labels=OURS, ownerReferences=owners)
    path = f"/api/v1/namespaces/{place.name}/configmaps/fraud-policy"
    said = refusal(lambda: request(place.server, "DELETE", path, headers=COLLECTOR))
    assert allowed == (said == ""), f"{reason}: {said}"
    assert allowed or FILE_WORDS in said


MADE: list[tuple[str, Json, str, Json, bool]] = [
    # why this row, who, its name, what it holds, whether it goes through
    ("an editor, where pods look", EDITOR, "fraud-policy", {"data": FILE}, False),
    ("an editor, in the other field", EDITOR, "fraud-policy", {"binaryData": {"policy.json": "e30="}}, False),
    ("an editor, under another name", EDITOR, "fraud", {"data": FILE}, True),
    ("an editor, what pods start with", EDITOR, "fraud-boot-0123456789", {"data": BOOT}, False),
    ("an editor, something else that boots", EDITOR, "fraud-boot-loader", {"data": BOOT}, True),
    ("the operator, what pods start with", SERVICE_ACCOUNT, "fraud-boot-0123456789", {"data": BOOT}, True),
    ("an editor, another file", EDITOR, "fraud-policy", {"data": {"rules": ""}}, True),
    ("who may relax", OFFICER, "fraud-policy", {"data": FILE}, True),
    ("the operator", SERVICE_ACCOUNT, "fraud-policy", {"data": FILE}, True),
]


@pytest.mark.parametrize(("reason", "who", "name", "body", "allowed"), MADE, ids=[row[0] for row in MADE])
def test_a_file_that_pods_would_read_is_made_by(
    reason: str, who: Json, name: str, body: Json, allowed: bool, place: Place
) -> None:
    said = put_file(place, name, body, who)
    assert allowed == (said == ""), f"{reason}: {said}"
    assert allowed or FILE_WORDS in said


def test_the_garbage_collector_takes_away_what_pods_started_with(place: Place) -> None:
    name = "fraud-boot-0123456789"
    put_file(place, name, {"data": BOOT}, SERVICE_ACCOUNT, labels=OURS, ownerReferences=[OWNER])
    path = f"/api/v1/namespaces/{place.name}/configmaps/{name}"
    assert refusal(lambda: request(place.server, "DELETE", path, headers=COLLECTOR)) == ""


def test_nor_does_a_file_become_one_that_pods_would_read(place: Place) -> None:
    assert put_file(place, "fraud-policy", {"data": {"rules": ""}}, EDITOR) == ""
    path = f"/api/v1/namespaces/{place.name}/configmaps/fraud-policy"
    said = refusal(lambda: request(place.server, "PATCH", path, {"data": FILE}, headers={**EDITOR, **MERGE}))
    assert FILE_WORDS in said


def test_a_model_is_scaled_and_deleted_without_the_right(place: Place) -> None:
    place.make(model(f"{{{URI}, privacy: {{policyRef: {{name: a}}}}}}", "fraud"))
    request(
        place.server,
        "PATCH",
        f"{API}/{place.name}/modeldeployments/fraud/scale",
        {"spec": {"replicas": 0}},
        headers=MERGE,
    )
    place.delete("modeldeployments/fraud", EDITOR)
