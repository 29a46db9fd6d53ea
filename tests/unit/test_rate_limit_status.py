"""EndpointSecured under `security.rateLimit`: a limit counts when the pods say that they hold callers to it."""

from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.facts import Applied, Given, Json, Network, Pod
from modelward_operator.plan.config import policy_digest
from modelward_operator.plan.pod import revision
from modelward_operator.status.summarise import POLICY_LOOK, look_again_after
from tests.makers import READY_REPORT, current_revision, drawn, make_given, make_pod
from tests.unit.test_privacy_room import under
from tests.unit.test_summarise import condition, says, status_of

LIMITED: Json = {"security": {"rateLimit": {"requestsPerSecond": "10", "burst": 20}}}
BARE = make_given(LIMITED)
NEW = policy_digest(drawn(BARE))
UNKNOWN_FIELD = "/etc/modelward/policy/policy.json: Object contains unknown field `limits`"


def pod(name: str = "a", digest: str | None = NEW, failure: object = None, *, old: bool = False) -> Pod:
    """A ready pod that reports this policy.json, or none."""
    said = {} if digest is None else {"policyDigest": digest, "policyFailure": failure}
    revision = "old" if old else current_revision(BARE)
    return make_pod(name, is_ready=True, revision=revision, report={**READY_REPORT, **said})


def silent(pod: Pod, *, heard: bool = False) -> Pod:
    return replace(pod, report={}, last_loaded=pod.report if heard else {})


def before(
    reason: str = "Secured",
    status: str = "True",
    generation: int = 3,
    message: str = "TLS Off; the rate limit is enforced; said before",
) -> Json:
    """The status that stood, of this generation or another."""
    secured = {"type": "EndpointSecured", "status": status, "reason": reason, "message": message}
    since = {"observedGeneration": generation, "lastTransitionTime": "2026-11-23T11:00:00Z"}
    return {"observedGeneration": generation, "conditions": [{**secured, **since}]}


def with_pods(*pods: Pod, status: Json | None = None, spec: Json = LIMITED) -> Given:
    return replace(make_given(spec, pods=pods, status=status), network=Network(enforced=True))


TRUE = ("True", "Secured")
PENDING = ("Unknown", "RateLimitPending")
REFUSED = ("False", "RateLimitNotEnforced")

ROWS: list[tuple[str, Given, tuple[str, str], str]] = [
    # why this row, the pods and what the status said, EndpointSecured, words of its message
    ("every pod enforces it", with_pods(pod("a"), pod("b")), TRUE, "the rate limit is enforced"),
    (
        "the kubelet has not brought it to one of two",
        with_pods(pod("a"), pod("b", "before"), status=before(generation=2)),
        PENDING,
        "1 of 2 ready pods enforce security.rateLimit; not yet: b",
    ),
    (
        "a pod cannot take it",
        with_pods(pod("a"), pod("b", "before", UNKNOWN_FIELD)),
        REFUSED,
        f"pod b cannot enforce security.rateLimit and holds on to what it enforced before: {UNKNOWN_FIELD}",
    ),
    ("an image that reports no policy", with_pods(pod("a", None)), PENDING, "not yet: a"),
    ("a pod of the revision before serves on without it", with_pods(pod("a"), pod("b", "x", old=True)), PENDING, "b"),
    (
        "its refusal is not the new revision's, and it is about to go",
        with_pods(pod("a"), pod("b", "x", UNKNOWN_FIELD, old=True)),
        PENDING,
        "not yet: b",
    ),
    ("one that follows is as good as any", with_pods(pod("a"), pod("b", old=True)), TRUE, "is enforced"),
    ("who said so and is silent still does", with_pods(pod("a"), silent(pod("b"), heard=True)), TRUE, ""),
    ("who said another and is silent does not", with_pods(pod("a"), silent(pod("b", "x"), heard=True)), PENDING, "b"),
    ("a pod that was never heard, of a new limit", with_pods(pod("a"), silent(pod("b"))), PENDING, "not yet: b"),
    (
        "the operator began anew, hears one of two, and the status remembers both",
        with_pods(pod("a"), silent(pod("b")), status=before()),
        TRUE,
        "",
    ),
    (
        "it remembers it also where the network is open",
        with_pods(pod("a"), silent(pod("b")), status=before("NetworkOpen")),
        TRUE,
        "",
    ),
    (
        "and not from an operator that knew of no limits",
        with_pods(pod("a"), silent(pod("b")), status=before(message="TLS Off; ingress from namespace risk")),
        PENDING,
        "not yet: b",
    ),
    (
        "and not of another limit",
        with_pods(pod("a"), silent(pod("b")), status=before(generation=2)),
        PENDING,
        "not yet: b",
    ),
    (
        "nor when something else was told first",
        with_pods(pod("a"), silent(pod("b")), status=before("CertificatePending", "Unknown")),
        PENDING,
        "not yet: b",
    ),
    ("the operator began anew and hears nobody", with_pods(silent(pod("a")), status=before()), TRUE, "said before"),
    (
        "a pod that speaks is believed, whatever the status says",
        with_pods(pod("a"), pod("b", "x"), status=before()),
        PENDING,
        "not yet: b",
    ),
]


@pytest.mark.parametrize(("reason", "given", "expected", "words"), ROWS, ids=[row[0] for row in ROWS])
def test_a_limit_counts_when_the_pods_say_so(reason: str, given: Given, expected: tuple[str, str], words: str) -> None:
    status = status_of(given)
    assert expected == says(status, "EndpointSecured"), reason
    assert words in condition(status, "EndpointSecured")["message"]
    ready = ("True", "Serving") if expected == TRUE else expected
    if any(revision(one.raw) == "old" for one in given.pods):
        ready = ("Unknown", "RollingOut")
    assert ready == says(status, "Ready"), "who waits for Ready waits for the limit"


@pytest.mark.parametrize(
    ("reason", "given", "again"),
    [
        ("in force: events tell the rest", with_pods(pod()), None),
        ("no event tells when the kubelet has brought the file", with_pods(pod(digest="before")), POLICY_LOOK),
        ("a pod that cannot may be able to later", with_pods(pod(failure="no")), POLICY_LOOK),
    ],
)
def test_pods_are_asked_again_until_all_enforce_it(reason: str, given: Given, again: float | None) -> None:
    assert again == look_again_after(given, status_of(given), Applied()), reason


def test_a_limit_is_told_of_where_nothing_else_is_asked() -> None:
    spec = {"security": {**LIMITED["security"], "authentication": {"mode": "None"}}}
    said = {**READY_REPORT, "access": {"authentication": "None"}}
    given = make_given(spec)
    one = make_pod("a", is_ready=True, revision=current_revision(given), report={**said, "policyDigest": "before"})
    assert PENDING == says(status_of(replace(given, pods=(one,))), "EndpointSecured")


@pytest.mark.parametrize("spec", [{}, {"security": {"tls": {"mode": "Off"}}}])
def test_without_a_limit_nobody_waits_for_a_policy(spec: Json) -> None:
    for said in (pod(digest="before"), pod(digest=None), pod(failure="no"), silent(pod("b"), heard=True)):
        given = with_pods(pod("a", None), replace(said, raw={**said.raw}), spec=spec)
        given = replace(given, pods=tuple(_of(given, one) for one in given.pods))
        status = status_of(given)
        assert TRUE == says(status, "EndpointSecured")
        assert "rate limit" not in condition(status, "EndpointSecured")["message"]
        expected = None if all(one.report for one in given.pods) else 2.0
        assert expected == look_again_after(given, status, Applied())


def _of(given: Given, one: Pod) -> Pod:
    """The pod, as one of this model's present revision."""
    made = make_pod(one.raw["metadata"]["name"], is_ready=True, revision=current_revision(given), report=one.report)
    return replace(made, last_loaded=one.last_loaded)


def governed(*pods: Pod, status: Json | None) -> Given:
    """The same under a PrivacyPolicy, which changes policy.json too."""
    given = under("{input: {maxElements: 10}}", LIMITED)
    raw = {**given.raw, **({"status": status} if status else {})}
    return replace(given, raw=raw, pods=tuple(_of(given, one) for one in pods), network=Network(enforced=True))


def in_force(**more: Any) -> Json:
    return {**before(**more), "privacy": {"policy": "standard", "generation": 2}}


def test_a_privacy_policy_that_changes_or_is_refused_leaves_a_limit_in_force() -> None:
    for pods in ((pod(digest="before"),), (pod(digest="before", failure="PolicyUnsatisfiable: no input 'text'"),)):
        status = status_of(governed(*pods, status=in_force()))
        assert TRUE == says(status, "EndpointSecured")
        assert "True" != says(status, "PrivacyEnforced")[0], "of the new policy nothing is claimed"
        assert says(status, "PrivacyEnforced") == says(status, "Ready")


def test_a_new_limit_is_told_of_under_a_privacy_policy_as_well() -> None:
    status = status_of(governed(pod(digest="before"), status=in_force(generation=2)))
    assert PENDING == says(status, "EndpointSecured")
    digest = policy_digest(drawn(governed(status=None)))
    assert TRUE == says(status_of(governed(pod(digest=digest), status=in_force(generation=2))), "EndpointSecured")
