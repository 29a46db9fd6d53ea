"""PrivacyEnforced: what the pods say that they enforce, not what was written for them."""

from dataclasses import replace
from typing import Any

import pytest

from modelward_operator.facts import Applied, Given, Json, Pod
from modelward_operator.plan.config import policy_digest
from modelward_operator.policies.rooms import rule
from modelward_operator.status.news import news
from modelward_operator.status.summarise import LEDGER_LOOK, POLICY_LOOK, look_again_after, summarise
from tests.makers import READY_REPORT, current_revision, drawn, failing, make_given, make_pod, parsed
from tests.unit.test_privacy_room import NAMED, under

GIVEN = under("{input: {maxElements: 10}}")
NEW = policy_digest(drawn(GIVEN))
NAME = "PrivacyPolicy standard (generation 3)"


def pod(name: str = "fraud-a", generation: str = NEW, failure: object = None, *, old: bool = False, **more: Any) -> Pod:
    """A ready pod that reports this generation of policy.json."""
    report = {
        **READY_REPORT,
        "policyDigest": generation,
        "policyFailure": failure,
        "epsilon": more.pop("epsilon", None),
    }
    revision = "old" if old else current_revision(GIVEN)
    return make_pod(name, is_ready=True, revision=revision, report=report, **more)


def silent(pod: Pod, *, heard: bool = True) -> Pod:
    """The pod while nobody hears it; `heard`: it was heard before."""
    return replace(pod, report={}, last_loaded=pod.report if heard else {})


def told(given: Given) -> dict[str, Any]:
    """Return the status."""
    spec = parsed(given)
    return dict(summarise(given, spec, rule(given, spec), drawn(given), Applied()))


def condition(status: Json, type_: str = "PrivacyEnforced") -> tuple[str, str, str]:
    found = next((c for c in status["conditions"] if c["type"] == type_), None)
    return (found["status"], found["reason"], found["message"]) if found else ("", "", "")


def with_pods(*pods: Pod, status: Json | None = None) -> Given:
    raw = {**GIVEN.raw, **({"status": status} if status else {})}
    return replace(GIVEN, pods=pods, raw=raw)


BEFORE: Json = {"privacy": {"policy": "standard", "generation": 2}}
SAME: Json = {"privacy": {"policy": "standard", "generation": 3}}
UNKNOWN_FIELD = "/etc/modelward/policy/policy.json: Object contains unknown field `privacy`"

ROWS: list[tuple[str, Given, tuple[str, str, str], Json | None]] = [
    # why this row, the pods, the condition, status.privacy
    (
        "every pod enforces it",
        with_pods(pod("b"), pod("a")),
        ("True", "PolicyEnforced", f"{NAME} is enforced by 2 pods: a, b"),
        SAME["privacy"],
    ),
    (
        "one of two does not say so yet: the kubelet is slow",
        with_pods(pod("a"), pod("b", "before"), status=BEFORE),
        ("Unknown", "PrivacyPolicyPending", f"1 of 2 ready pods enforce {NAME}; not yet: b"),
        BEFORE["privacy"],
    ),
    ("none is ready yet", with_pods(), ("Unknown", "Starting", f"no pod is ready to enforce {NAME}"), None),
    (
        "a pod cannot, and holds on to the one before",
        with_pods(pod("a"), pod("b", "before", "PolicyUnsatisfiable: no input 'text'"), status=BEFORE),
        (
            "False",
            "PolicyUnsatisfiable",
            f"pod b cannot enforce {NAME} and holds on to what it enforced before: PolicyUnsatisfiable: no input 'text'",
        ),
        BEFORE["privacy"],
    ),
    (
        "an image that is older than privacy policies",
        with_pods(pod("a", "before", UNKNOWN_FIELD)),
        (
            "False",
            "PolicyUnsatisfiable",
            f"pod a cannot enforce {NAME} and holds on to what it enforced before: {UNKNOWN_FIELD}",
        ),
        None,
    ),
    (
        "a pod of the revision before lacks what the new one is given, and is about to go",
        with_pods(pod("a", "before", "no such key", old=True), status=BEFORE),
        ("Unknown", "PrivacyPolicyPending", f"0 of 1 ready pods enforce {NAME}; not yet: a"),
        BEFORE["privacy"],
    ),
    (
        "a pod of the revision before enforces it as well",
        with_pods(pod("a"), pod("b", old=True)),
        ("True", "PolicyEnforced", f"{NAME} is enforced by 2 pods: a, b"),
        SAME["privacy"],
    ),
    (
        "who said so and is silent for a moment still does",
        with_pods(silent(pod("a"))),
        ("True", "PolicyEnforced", f"{NAME} is enforced by 1 pod: a"),
        SAME["privacy"],
    ),
    (
        "after a restart of the operator the status remembers it",
        with_pods(silent(pod("a"), heard=False), status=SAME),
        ("True", "PolicyEnforced", f"{NAME} is enforced by 1 pod: a"),
        SAME["privacy"],
    ),
    (
        "also where the status remembers what the container had loaded",
        with_pods(
            replace(pod("a"), report={}, last_loaded={"state": "Ready", "model": {"verified": True}}), status=SAME
        ),
        ("True", "PolicyEnforced", f"{NAME} is enforced by 1 pod: a"),
        SAME["privacy"],
    ),
    (
        "a report that names no policy.json enforces none, whatever the status says",
        with_pods(replace(pod("a"), report=READY_REPORT), status=SAME),
        ("Unknown", "PrivacyPolicyPending", f"0 of 1 ready pods enforce {NAME}; not yet: a"),
        SAME["privacy"],
    ),
    (
        "and does not take the generation before for this one",
        with_pods(silent(pod("a"), heard=False), status=BEFORE),
        ("Unknown", "PrivacyPolicyPending", f"0 of 1 ready pods enforce {NAME}; not yet: a"),
        BEFORE["privacy"],
    ),
    (
        "it enforces it, and cannot ask for more of the budget",
        with_pods(pod("a", epsilon={"failure": ""}), pod("b", epsilon={"failure": "the API is away"}), status=SAME),
        (
            "Unknown",
            "LedgerUnreachable",
            f"{NAME} is enforced by 2 pods; b cannot ask the ledger of the privacy budget: the API is away",
        ),
        SAME["privacy"],
    ),
    (
        "a failure that is no text is none, and no generation either",
        with_pods(pod("a", "before", ["x"])),
        ("Unknown", "PrivacyPolicyPending", f"0 of 1 ready pods enforce {NAME}; not yet: a"),
        None,
    ),
]


@pytest.mark.parametrize(("reason", "given", "expected", "in_force"), ROWS, ids=[row[0] for row in ROWS])
def test_the_condition_is_what_the_pods_say(
    reason: str, given: Given, expected: tuple[str, str, str], in_force: Json | None
) -> None:
    status = told(given)
    assert expected == condition(status), reason
    assert in_force == status.get("privacy"), reason


def test_ready_follows() -> None:
    assert condition(told(with_pods(pod())), "Ready")[0] == "True"
    assert condition(told(with_pods(pod(generation="before"))), "Ready")[:2] == ("Unknown", "PrivacyPolicyPending")
    assert condition(told(with_pods(pod(failure="no"))), "Ready")[:2] == ("False", "PolicyUnsatisfiable")


def test_a_pod_with_a_ledger_is_asked_again_whether_it_can_use_it() -> None:
    for said, expected in ((None, None), ({"failure": ""}, LEDGER_LOOK), ({"failure": "away"}, POLICY_LOOK)):
        given = with_pods(pod("a", epsilon=said))
        assert expected == look_again_after(given, told(given), Applied())


def test_a_pod_that_cannot_start_under_the_policy_says_why() -> None:
    failure = failing("PolicyUnsatisfiable", "the model has no input 'text'", permanent=False)
    starting = make_pod("c", revision=current_revision(GIVEN), report={"state": "Loading", "failure": failure})
    for pods in ((starting,), (pod("a", "before", old=True), starting)):
        status = told(with_pods(*pods))
        said = "pod c: the model has no input 'text' (retrying)"
        assert condition(status) == ("False", "PolicyUnsatisfiable", said)
        assert condition(status, "RolloutComplete")[:2] == ("False", "PolicyUnsatisfiable")
    assert condition(told(with_pods(starting)), "Ready")[1] == "PolicyUnsatisfiable"


def test_without_a_policy_there_is_no_condition() -> None:
    status = told(
        make_given(pods=(make_pod(is_ready=True, revision=current_revision(make_given()), report=READY_REPORT),))
    )
    assert condition(status) == ("", "", "")
    assert "privacy" not in status


def test_at_zero_replicas_nothing_is_enforced_and_nothing_is_claimed() -> None:
    given = under("{input: {maxElements: 10}}", {"scaling": {"replicas": 0}})
    given = replace(given, raw={**given.raw, "status": SAME})
    status = told(given)
    assert condition(status) == ("", "", "")
    assert condition(status, "Ready")[:2] == ("True", "ScaledToZero")
    assert "privacy" not in status


def test_a_policy_that_is_not_there_is_told_by_both_conditions() -> None:
    status = told(make_given(NAMED, status=SAME))
    for type_ in ("PrivacyEnforced", "Ready"):
        assert condition(status, type_)[:2] == ("False", "PrivacyPolicyNotFound")
    assert "privacy" not in status


def test_a_long_list_of_pods_is_cut() -> None:
    message = condition(told(with_pods(*(pod(f"p{n:02}") for n in range(12)))))[2]
    assert message.endswith("12 pods: p00, p01, p02, p03, p04, p05, p06, p07 and 4 more")


@pytest.mark.parametrize(
    ("reason", "given", "again"),
    [
        ("in force: events tell the rest", with_pods(pod()), None),
        ("no event tells when the kubelet has brought the file", with_pods(pod(generation="before")), 3.0),
        ("a pod that cannot may be able to later", with_pods(pod(failure="no")), 3.0),
        ("of a policy that is not there its event will tell", make_given(NAMED), 300.0),
    ],
)
def test_pods_are_asked_again_until_all_enforce_it(reason: str, given: Given, again: float | None) -> None:
    assert again == look_again_after(given, told(given), Applied()), reason


def outdated(given: Given) -> Given:
    """The facts where rules that came later refuse the policy."""
    policy = replace(given.around.privacy["standard"], outdated="spec.audit: required needs a claim")
    return replace(given, around=replace(given.around, privacy={"standard": policy}))


def test_what_newer_rules_refuse_holds_and_says_so_once() -> None:
    given = outdated(with_pods(pod()))
    status = told(given)
    refused = "the rules of this release refuse it: spec.audit: required needs a claim"
    message = f"{NAME} is enforced by 1 pod: fraud-a; it holds as it is stored, and {refused}"
    assert ("True", "PrivacyPolicyOutdated", message) == condition(status)
    assert SAME["privacy"] == status["privacy"]
    assert ("True", "Serving") == condition(status, "Ready")[:2]
    assert ["PrivacyPolicyOutdated"] == [one.reason for one in news(given, status) if one.type == "Warning"]
    later = outdated(with_pods(pod(), status=status))
    assert [] == news(later, told(later))
    mended = with_pods(pod(), status=status)
    assert ("True", "PolicyEnforced") == condition(told(mended))[:2]


def test_a_pod_that_cannot_is_told_before_what_newer_rules_refuse() -> None:
    assert ("False", "PolicyUnsatisfiable") == condition(told(outdated(with_pods(pod(failure=UNKNOWN_FIELD)))))[:2]
