"""What the plugin reads, for its tests: models as the operator would leave them, their histories, an installation."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from modelward_operator.api.generate import CRDS
from modelward_operator.api.parse import Invalid, parse_privacy
from modelward_operator.facts import Applied, Given, Json, Network, Pod, PrivacyPolicy, Surroundings
from modelward_operator.plan import names
from modelward_operator.plan.config import policy_digest
from modelward_operator.plan.history import entry
from modelward_operator.plugin.checks_cluster import ADMISSION
from modelward_operator.plugin.examination import Clocks, Replica, Seen
from modelward_operator.policies.rooms import rule
from modelward_operator.status.summarise import summarise, summarise_unread
from tests.makers import READY_REPORT, current_revision, drawn, failing, make_given, make_pod, parsed
from tests.privacy_specs import FILE, audit, privacy_policy

NOW = datetime(2026, 11, 23, 12, 10, 0, tzinfo=UTC)
DIGESTS = ["sha256:" + digit * 64 for digit in "123456789abcdef"]


def told(digest: str) -> Json:
    """A ready pod's report of this digest."""
    return {**READY_REPORT, "model": {**READY_REPORT["model"], "digest": digest}}


def serving(given: Given, *pods: Pod) -> Given:
    """The facts with these pods, of the present template."""
    revision = current_revision(given)
    marked = [
        replace(pod, raw={**pod.raw, "metadata": {**pod.raw["metadata"], "annotations": {names.REVISION: revision}}})
        for pod in pods
    ]
    return replace(given, pods=tuple(marked))


def live(given: Given, **metadata: Any) -> dict[str, Any]:
    """The ModelDeployment after a pass over these facts."""
    spec, plan = parsed(given), drawn(given)
    status = summarise(given, spec, rule(given, spec), plan, Applied())
    return {
        **given.raw,
        "metadata": {**given.raw["metadata"], "resourceVersion": "77", **metadata},
        "status": {**status, **given.raw.get("status", {})},
    }


def well() -> dict[str, Any]:
    """A model that serves."""
    return served(Network(enforced=True))


def served(network: Network, spec: Json | None = None) -> dict[str, Any]:
    """A model that serves, where this is known of the network."""
    given = serving(make_given(spec), make_pod(is_ready=True, report=told(DIGESTS[0])))
    return live(replace(given, network=network))


def network_not_known() -> dict[str, Any]:
    """A model whose declared policy lets the operator in, where no other model's shows whether it is enforced."""
    declared = {"security": {"networkPolicy": {"allowFrom": [{"namespace": "modelward-system"}]}}}
    return served(Network(lets_operator_in=True), declared)


def under_outdated_policy() -> dict[str, Any]:
    """A model that serves under a PrivacyPolicy which rules that came later refuse."""
    raw = privacy_policy(audit(f"required: true, {FILE}"))
    stored, refused = parse_privacy(raw, stored=True), parse_privacy(raw)
    assert not isinstance(stored, Invalid)
    given = make_given({"privacy": {"policyRef": {"name": "standard"}}})
    policy = PrivacyPolicy("standard", 3, stored, outdated=str(refused))
    given = replace(given, around=Surroundings(privacy={"standard": policy}), network=Network(enforced=True))
    report = {**told(DIGESTS[0]), "policyDigest": policy_digest(drawn(given)), "policyFailure": None}
    return live(serving(given, make_pod(is_ready=True, report=report)))


def under_unread_policy() -> dict[str, Any]:
    """The model that served, whose PrivacyPolicy cannot be read any more."""
    before = well()
    unread = (
        "PrivacyPolicy standard (generation 4) cannot be read: spec.input.maxElements: input should be a valid integer"
    )
    given = make_given({"privacy": {"policyRef": {"name": "standard"}}}, status=before["status"])
    given = replace(given, around=Surroundings(unread=unread))
    status = summarise_unread(given, rule(given, parsed(given)), Applied())
    return {**before, "spec": given.raw["spec"], "status": status}


def under_unread_floor() -> dict[str, Any]:
    """The model that served, over which a ModelPolicy cannot be read any more."""
    before = well()
    unread = "ModelPolicy floor (generation 2) cannot be read: spec.requireDigest: input should be a valid boolean"
    given = replace(make_given(status=before["status"]), around=Surroundings(unread_policies=(unread,)))
    return {**before, "status": summarise_unread(given, rule(given, parsed(given)), Applied())}


def broken() -> dict[str, Any]:
    """A model whose new revision has other bytes than were declared, while the former one serves on."""
    words = f"s3://models/fraud/7/ has the digest {DIGESTS[0]}, declared is {DIGESTS[1]}"
    before = {"revision": {"number": 6, "oldest": 1, "hash": "h", "servedTime": "2026-11-20T09:30:00Z"}}
    given = make_given({"model": {"uri": "s3://models/fraud/7/", "version": "7", "digest": DIGESTS[1]}}, status=before)
    new = make_pod("fraud-b", report={**READY_REPORT, "state": "Failed", "failure": failing("DigestMismatch", words)})
    old = make_pod("fraud-a", revision="former", is_ready=True, report=told(DIGESTS[2]))
    given = serving(given, new)
    return live(replace(given, pods=(*given.pods, old)))


SPECS: tuple[Json, ...] = (
    {"model": {"uri": "s3://models/fraud/1/", "version": "1"}},
    {"model": {"uri": "s3://models/fraud/2/", "version": "2"}, "resources": {"limits": {"memory": "2Gi"}}},
    {
        "model": {"uri": "s3://models/fraud/2/", "version": "2"},
        "resources": {"limits": {"memory": "2Gi"}},
        "security": {"authentication": {"allowedSubjects": [{"kind": "User", "name": "oidc:alice"}]}},
    },
)
CAUSES = ("", "Retrained on October", "Alice may call")


def entries() -> list[dict[str, Any]]:
    """The history that the operator would have made of these specs, one a day."""
    found = []
    for number, (spec, cause) in enumerate(zip(SPECS, CAUSES, strict=True), start=1):
        given = make_given(spec, now=datetime(2026, 11, 19 + number, 9, 30, 0, tzinfo=UTC))
        given.raw["metadata"]["annotations"] = {names.CHANGE_CAUSE: cause} if cause else {}
        given = serving(given, make_pod(is_ready=True, report=told(DIGESTS[max(number - 2, 0)])))
        due = drawn(given).history
        assert due is not None
        found.append(dict(entry(given, due, number)))
    return found


def with_history(spec: Json, **metadata: Any) -> dict[str, Any]:
    """A model with that history, whose spec is now this one; it serves what it served last."""
    given = make_given(spec, status={"revision": {"number": 3, "oldest": 1, "hash": "h", "servedTime": "t"}})
    return live(serving(given, make_pod(is_ready=True, report=told(DIGESTS[0]))), **metadata)


def deployment(
    name: str, namespace: str = "modelward-system", *, replicas: int = 2, ready: int = 2, **env: str
) -> Json:
    """A Deployment of the installation."""
    container = {"name": "operator", "image": f"registry.example/{name}:1"}
    container |= {"env": [{"name": key, "value": value} for key, value in env.items()]}  # type: ignore[dict-item]
    spec = {"replicas": replicas, "template": {"spec": {"serviceAccountName": name, "containers": [container]}}}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": {"readyReplicas": ready}}


def crds() -> list[dict[str, Any]]:
    """Ours, as the API server has them."""
    return [{**crd, "status": {"conditions": [{"type": "Established", "status": "True"}]}} for crd in CRDS]


def installation(**change: Any) -> Seen:
    """An installation in which nothing is wrong."""
    figures = {
        ("modelward_watch_age_seconds", "Pod"): 12.0,
        ("modelward_queue_oldest_seconds", ""): 0.0,
        ("modelward_leader", ""): 1.0,
    }
    standby = {**figures, ("modelward_leader", ""): 0.0}
    lease = {
        "holderIdentity": "modelward-operator-a",
        "renewTime": "2026-11-23T12:09:59.0Z",
        "leaseDurationSeconds": 15,
    }
    guards = [{"kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}} for name in ADMISSION]
    bound = [
        {"kind": "ValidatingAdmissionPolicyBinding", "spec": {"policyName": name, "validationActions": ["Deny"]}}
        for name in ADMISSION
    ]
    given: dict[str, Any] = {
        "namespace": "modelward-system",
        "server_version": "v1.35.4",
        "crds": crds(),
        "operators": [deployment("modelward-operator", RUNTIME_IMAGE="registry.example/modelward-runtime:1")],
        "activators": [deployment("modelward-activator")],
        "lease": {"spec": lease},
        "pods": [{"metadata": {"name": f"modelward-operator-{letter}"}} for letter in "ab"],
        "asked": 90,
        "admission": [*guards, *bound],
        "models": [well()],
        "replicas": [Replica("modelward-operator-a", figures), Replica("modelward-operator-b", standby)],
        "clocks": Clocks(NOW, NOW, NOW, NOW),
    }
    return Seen(**{**given, **change})
