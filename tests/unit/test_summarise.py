"""What `kubectl get mdep` says, situation by situation."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from modelward_operator.api.parse import Invalid, parse
from modelward_operator.facts import Adjustment, Applied, Given, Json, Refusal
from modelward_operator.policies.rooms import rule
from modelward_operator.rulings import Ruling
from modelward_operator.status.conditions import Type
from modelward_operator.status.news import news
from modelward_operator.status.summarise import look_again_after, summarise, summarise_invalid
from tests.makers import (
    NOW,
    READY_REPORT,
    current_revision,
    drawn,
    failing,
    live_deployment,
    make_given,
    make_pod,
    no_longer_ready,
    parsed,
)

NOTHING_WRITTEN = Applied()
DIGEST = "sha256:" + "ab" * 32


def status_of(given: Given, applied: Applied = NOTHING_WRITTEN) -> dict[str, Any]:
    spec = parsed(given)
    return dict(summarise(given, spec, rule(given, spec), drawn(given), applied))


def condition(status: Json, kind: str) -> dict[str, Any]:
    return next((c for c in status["conditions"] if c["type"] == kind), {})


def says(status: Json, kind: str) -> tuple[str, str]:
    found = condition(status, kind)
    return found.get("status", "absent"), found.get("reason", "")


def with_pods(spec: Json | None, *pods: Any, **more: Any) -> Given:
    """Pods are made from (current or old, keyword arguments)."""
    bare = make_given(spec)
    revision = {"current": current_revision(bare), "old": "0ld"}
    made = tuple(make_pod(f"fraud-{n}", revision=revision[which], **args) for n, (which, args) in enumerate(pods))
    return make_given(spec, pods=made, **more)


SERVES = ("current", {"is_ready": True, "report": READY_REPORT})
OLD_SERVES = ("old", {"is_ready": True, "report": READY_REPORT})
WRONG = (
    "current",
    {
        "last_state": {
            "terminated": {"exitCode": 78, "message": '{"reason":"DigestMismatch","message":"no","permanent":true}'}
        }
    },
)


def test_a_model_that_was_just_applied_is_on_the_way() -> None:
    status = status_of(make_given())
    assert says(status, "Ready") == ("Unknown", "Starting")
    assert status["observedGeneration"] == 3
    assert all(c["observedGeneration"] == 3 for c in status["conditions"])


def test_a_model_that_serves_says_what_is_loaded() -> None:
    status = status_of(with_pods({"model": {"uri": "s3://m/x/", "digest": DIGEST}}, SERVES))
    assert says(status, "Ready") == ("True", "Serving")
    assert says(status, "ModelVerified") == ("True", "DigestMatches")
    assert status["model"] == {
        "digest": DIGEST,
        "shortDigest": "ab" * 6,
        "version": "7",
        "sizeBytes": 1048576,
        "executionProvider": "CPUExecutionProvider",
    }
    assert (status["replicas"], status["readyReplicas"]) == (1, 1)


def test_verification_is_not_claimed_when_no_digest_was_declared() -> None:
    assert says(status_of(with_pods(None, SERVES)), "ModelVerified") == ("absent", "")


def test_a_wrong_digest_is_the_reason_of_ready() -> None:
    status = status_of(with_pods({"model": {"uri": "s3://m/x/", "digest": DIGEST}}, WRONG))
    assert says(status, "Ready") == ("False", "DigestMismatch")
    assert says(status, "ModelVerified") == ("False", "DigestMismatch")
    assert status["model"] == {"lastFailure": "DigestMismatch: pod fraud-0: no"}


def test_a_failing_new_revision_leaves_the_old_one_serving_and_says_so() -> None:
    status = status_of(with_pods(None, OLD_SERVES, WRONG))
    assert says(status, "RolloutComplete") == ("False", "DigestMismatch")
    assert says(status, "WorkloadAvailable") == ("True", "PodsReady")
    assert says(status, "Ready") == ("False", "DigestMismatch")
    assert "the previous revision serves on" in condition(status, "Ready")["message"]
    assert status["readyReplicas"] == 1


def test_a_rollout_in_progress_is_unknown_not_false() -> None:
    status = status_of(with_pods(None, OLD_SERVES, ("current", {"report": {"state": "Loading"}})))
    assert says(status, "Ready") == ("Unknown", "RollingOut")
    assert says(status, "ModelAvailable") == ("True", "Loaded")


def test_a_rollout_is_complete_once_no_older_pod_can_be_sent_a_request() -> None:
    """A pod that was told to end answers until its drain takes Ready away: until then, the answer may be the old version's."""
    status = status_of(with_pods(None, SERVES, ("old", {"is_ready": True, "is_ending": True})))
    assert says(status, "Ready") == ("Unknown", "RollingOut")
    assert "1 of an older one are leaving" in condition(status, "Ready")["message"]
    assert (status["replicas"], status["readyReplicas"]) == (1, 1)
    status = status_of(with_pods(None, SERVES, ("old", {"is_ready": False, "is_ending": True})))
    assert says(status, "Ready") == ("True", "Serving")


def test_a_pod_of_the_current_revision_that_leaves_does_not_unsay_the_rollout() -> None:
    status = status_of(with_pods(None, SERVES, ("current", {"is_ready": True, "is_ending": True})))
    assert says(status, "Ready") == ("True", "Serving")


def test_a_rollout_that_is_stuck_halfway_says_what_keeps_it() -> None:
    killed = ("current", {"last_state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}})
    status = status_of(with_pods({"scaling": {"replicas": 3}}, SERVES, killed, OLD_SERVES))
    assert says(status, "Ready") == ("Unknown", "RollingOut")
    assert (
        "1 of an older one are left: pod fraud-1: killed at its memory limit" in condition(status, "Ready")["message"]
    )


def test_a_rollout_that_somebody_paused_says_so() -> None:
    spec = {"runtime": {"threads": 2}}
    paused = live_deployment(make_given(), paused=True)
    status = status_of(with_pods(spec, OLD_SERVES, children=(paused,)))
    assert says(status, "Ready") == ("Unknown", "RollingOut")
    assert "kubectl rollout resume deployment/fraud -n risk" in condition(status, "Ready")["message"]


def test_a_model_that_is_loaded_does_not_step_back_while_the_readiness_probe_is_due() -> None:
    status = status_of(
        with_pods({"model": {"uri": "s3://m/x/", "digest": DIGEST}}, ("current", {"report": READY_REPORT}))
    )
    assert says(status, "ModelAvailable") == ("True", "Loaded")
    assert says(status, "ModelVerified") == ("True", "DigestMatches")
    assert says(status, "Ready") == ("Unknown", "Starting")
    assert "readiness probe comes next" in condition(status, "Ready")["message"]


def test_a_killed_pod_takes_ready_away_but_not_the_rollout() -> None:
    dead = ("current", {"last_state": {"terminated": {"exitCode": 137, "reason": "Error"}}})
    bare = make_given()
    live = live_deployment(bare, status={"conditions": [{"type": "Progressing", "reason": "NewReplicaSetAvailable"}]})
    status = status_of(with_pods(None, dead, children=(live,)))
    assert says(status, "Ready") == ("False", "ContainerExited")
    assert says(status, "RolloutComplete") == ("True", "Complete")


def test_one_of_two_pods_is_enough_to_be_ready() -> None:
    status = status_of(with_pods({"scaling": {"replicas": 2}}, SERVES, ("current", {})))
    assert says(status, "Ready") == ("True", "Serving")
    assert "1 of 2" in condition(status, "WorkloadAvailable")["message"]


EVICTED: dict[str, Any] = {
    "state": {},
    "phase": "Failed",
    "reason": "Evicted",
    "message": "The node was low on resource: memory.",
    "age": timedelta(hours=1),
}


@pytest.mark.parametrize("which", ["current", "old"])
def test_an_evicted_pod_that_was_left_behind_no_longer_counts_once_another_serves(which: str) -> None:
    given = with_pods(None, (which, EVICTED), SERVES)
    status = status_of(given)
    assert says(status, "Ready") == ("True", "Serving")
    assert says(status, "RolloutComplete") == ("True", "Complete")
    assert condition(status, "WorkloadAvailable")["message"] == "1 of 1 pods are ready"
    assert (status["replicas"], status["readyReplicas"]) == (1, 1)
    assert "lastFailure" not in status["model"]
    assert look_again_after(given, status, Applied()) is None


def test_an_eviction_is_the_reason_while_nothing_serves() -> None:
    status = status_of(with_pods(None, ("current", EVICTED)))
    assert says(status, "Ready") == ("False", "PodEvicted")
    assert status["replicas"] == 0


def test_a_pod_that_went_silent_after_it_had_started_is_not_starting() -> None:
    """A node that was lost, a process that hangs: the kubelet or the node controller takes Ready away, and no report comes."""
    hung = make_pod("fraud-0", revision=current_revision(make_given()), age=timedelta(days=1))
    assert says(status_of(make_given(pods=(hung,))), "Ready") == ("Unknown", "Starting")
    status = status_of(make_given(pods=(no_longer_ready(hung),)))
    assert says(status, "Ready") == ("False", "PodsNotReady")
    assert "fraud-0" in condition(status, "Ready")["message"]


def test_suspended_says_so_and_claims_no_model() -> None:
    status = status_of(make_given({"suspend": True}))
    assert says(status, "Ready") == ("False", "Suspended")
    assert says(status, "ModelAvailable") == ("absent", "")
    assert status["effective"]["replicas"] == 0


def test_suspended_does_not_hide_that_the_pods_could_not_be_taken_away() -> None:
    refusal = Refusal("Deployment", "fraud", "Rejected", "admission webhook says no")
    ready = condition(status_of(make_given({"suspend": True}), Applied(0, (refusal,))), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Suspended")
    assert "Deployment fraud: admission webhook says no" in ready["message"]


def test_zero_replicas_on_purpose_is_healthy() -> None:
    assert says(status_of(make_given({"scaling": {"replicas": 0}})), "Ready") == ("True", "ScaledToZero")


def test_pods_that_may_not_be_created_are_explained() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: exceeded quota: q'}
    live = live_deployment(make_given(), status={"conditions": [failure]})
    status = status_of(make_given(children=(live,)))
    assert says(status, "Ready") == ("False", "PodCreationFailed")
    assert "exceeded quota" in condition(status, "Ready")["message"]


def test_a_child_of_somebody_else_is_named() -> None:
    refusal = Refusal("Service", "fraud", "NotOwned", "exists and is not controlled by this ModelDeployment")
    status = status_of(make_given(), Applied(0, (refusal,)))
    assert says(status, "Ready") == ("False", "ChildNotOwned")
    assert condition(status, "Ready")["message"].startswith("Service fraud: ")


REJECTED = Refusal("Service", "fraud", "Rejected", "quota")
OVERRULED = Refusal("NetworkPolicy", "fraud", "Overruled", "an admission webhook has the last word on spec.ingress")
UNWRITTEN = Refusal("ConfigMap", "fraud-policy", "Unwritten", "apply ConfigMap: 500 failed calling webhook")


@pytest.mark.parametrize(
    ("reason", "refusals", "pods", "expected"),
    [
        ("no answer is no refusal", [UNWRITTEN], [SERVES], ("Unknown", "ChildUnwritten")),
        ("a refusal is", [UNWRITTEN, REJECTED], [SERVES], ("False", "ChildRejected")),
        ("what is known to be wrong stays known", [UNWRITTEN], [WRONG], ("False", "DigestMismatch")),
        ("a webhook opens a door", [OVERRULED], [SERVES], ("False", "ChildOverruled")),
    ],
)
def test_a_child_that_could_not_be_written(
    reason: str, refusals: list[Refusal], pods: list[Any], expected: tuple[str, str]
) -> None:
    status = status_of(with_pods(None, *pods), Applied(0, tuple(refusals)))
    assert says(status, "Ready") == expected, reason


@pytest.mark.parametrize("pods", [[SERVES], [WRONG], []])
def test_what_a_webhook_makes_of_a_deployment_is_told_and_stands_in_nobody_s_way(pods: list[Any]) -> None:
    note = Adjustment("Deployment", "fraud", "an admission webhook has the last word on spec.template (…)")
    given = with_pods(None, *pods)
    status, without = status_of(given, Applied(0, (), (note,))), status_of(given)
    assert says(status, "Ready") == says(without, "Ready")
    told = f"{condition(without, 'Ready')['message']}; Deployment fraud: {note.message}"
    assert condition(status, "Ready")["message"] == told
    assert (look_again_after(given, status, Applied(0, (), (note,))) or 1e9) <= 600


def test_zero_is_not_claimed_while_it_could_not_be_written() -> None:
    status = status_of(make_given({"scaling": {"replicas": 0}}), Applied(0, (UNWRITTEN,)))
    assert says(status, "Ready") == ("Unknown", "ChildUnwritten")


@pytest.mark.parametrize(("refusal", "seconds"), [(UNWRITTEN, 5.0), (REJECTED, 15.0)])
def test_what_was_not_written_is_tried_again_and_pods_are_asked_meanwhile(refusal: Refusal, seconds: float) -> None:
    for given, expected in ((with_pods(None, SERVES), seconds), (with_pods(None, ("current", {})), 1.0)):
        assert look_again_after(given, status_of(given), Applied(0, (refusal,))) == expected


def since(given: Given, age: timedelta) -> Json:
    """Return the status of a model of which everything has been as it is for so long."""
    long_ago = (NOW - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = status_of(given)
    return {**status, "conditions": [{**c, "lastTransitionTime": long_ago} for c in status["conditions"]]}


@pytest.mark.parametrize(
    ("reason", "refusal", "age", "seconds"),
    [
        ("just now", REJECTED, timedelta(seconds=5), 15.0),
        ("for two minutes", REJECTED, timedelta(minutes=2), 60.0),
        ("for a day", REJECTED, timedelta(days=1), 300.0),
        ("a webhook that is down for a day", UNWRITTEN, timedelta(days=1), 60.0),
    ],
)
def test_what_nobody_mends_is_looked_at_more_and_more_seldom(
    reason: str, refusal: Refusal, age: timedelta, seconds: float
) -> None:
    given = with_pods(None, SERVES)
    assert look_again_after(given, since(given, age), Applied(0, (refusal,))) == seconds, reason


@pytest.mark.parametrize(
    ("age", "seconds"), [(timedelta(minutes=1), 1.0), (timedelta(minutes=10), 20.0), (timedelta(days=1), 60.0)]
)
def test_a_pod_that_will_not_be_ready_is_asked_more_and_more_seldom(age: timedelta, seconds: float) -> None:
    given = with_pods(None, ("current", {"report": {"state": "Fetching"}}))
    (pod,) = given.pods
    made = {**pod.raw["metadata"], "creationTimestamp": (NOW - age).isoformat()}
    given = replace(given, pods=(replace(pod, raw={**pod.raw, "metadata": made}),))
    assert look_again_after(given, status_of(given), Applied()) == seconds


def test_the_transition_time_stands_while_the_status_stands() -> None:
    first = status_of(with_pods(None, SERVES))
    old = [{**c, "lastTransitionTime": "2026-01-01T00:00:00Z"} for c in first["conditions"]]
    again = status_of(with_pods(None, SERVES, status={"conditions": old}))
    assert {c["lastTransitionTime"] for c in again["conditions"]} == {"2026-01-01T00:00:00Z"}


def test_what_was_loaded_stays_known_while_a_report_cannot_be_read() -> None:
    known = {"model": {"digest": DIGEST, "lastFailure": "old"}, "conditions": []}
    given = with_pods(None, ("current", {"is_ready": True}), status=known)
    assert status_of(given)["model"] == {"digest": DIGEST}
    assert look_again_after(given, status_of(given), Applied()) == 2.0


def test_nothing_is_looked_at_again_once_it_serves() -> None:
    given = with_pods(None, SERVES)
    assert look_again_after(given, status_of(given), Applied()) is None


def test_a_running_pod_is_asked_again_within_a_second() -> None:
    given = with_pods(None, ("current", {"report": {"state": "Fetching"}}))
    assert look_again_after(given, status_of(given), Applied()) == 1.0


def test_a_pod_cannot_write_what_the_schema_refuses() -> None:
    liar = {
        **READY_REPORT,
        "model": {"digest": "x" * 9999, "version": 7, "sizeBytes": "huge"},
        "executionProvider": ["a"],
    }
    status = status_of(with_pods(None, ("current", {"is_ready": True, "report": liar})))
    assert len(status["model"]["digest"]) == 512
    assert "sizeBytes" not in status["model"]


@pytest.mark.parametrize(
    ("reason", "report"),
    [
        ("a truth is no number", {"model": {"sizeBytes": True}}),
        ("less than nothing", {"model": {"sizeBytes": -1}}),
        ("more than 64 bits", {"model": {"sizeBytes": 2**63}}),
    ],
)
def test_a_size_that_the_schema_refuses_is_left_out(reason: str, report: Json) -> None:
    status = status_of(with_pods(None, ("current", {"is_ready": True, "report": report})))
    assert "sizeBytes" not in status.get("model", {}), reason


def test_a_pod_commands_no_terminal() -> None:
    """Whoever describes the model reads its message there, as the pod's termination log had it."""
    lost = failing("SourceUnreachable", "Zeile 1\nZeile 2:\t\x1b[2J\x9b\u202e\u2028 模型 \u3000é", permanent=False)
    status = status_of(with_pods(None, ("current", {"report": {"failure": lost}})))
    message = condition(status, "Ready")["message"]
    assert "Zeile 1\nZeile 2:\t\ufffd[2J\ufffd\ufffd\ufffd 模型 \u3000é" in message


def test_half_a_character_is_replaced() -> None:
    """The API server would replace it, so that what is read back is never what was written, and every pass would write."""
    report = {"model": {"version": "\ud800x"}, "executionProvider": "\udfff"}
    status = status_of(with_pods(None, ("current", {"is_ready": True, "report": report})))
    assert (status["model"]["version"], status["model"]["executionProvider"]) == ("?x", "?")
    lost = failing("SourceUnreachable", "\ud83d", permanent=False)
    status = status_of(with_pods(None, ("current", {"report": {"failure": lost}})))
    assert condition(status, "Ready")["message"].endswith("fraud-0: ? (retrying)")


def test_a_stored_spec_that_cannot_be_read_lists_every_error_and_keeps_the_rest() -> None:
    given = make_given(
        {"scaling": {"replicas": -1}, "runtime": {"threads": -2}}, status={"replicas": 2, "conditions": []}
    )
    invalid = parse(given.raw)
    assert isinstance(invalid, Invalid)
    status = summarise_invalid(given, invalid, Ruling(), Applied())
    assert says(status, "Ready") == ("False", "InvalidSpec")
    message = condition(status, "Ready")["message"]
    assert "spec.scaling.replicas" in message
    assert "spec.runtime.threads" in message
    assert status["replicas"] == 2


def test_only_a_turn_of_ready_is_an_event() -> None:
    given = with_pods(None, SERVES)
    status = status_of(given)
    assert [(n.type, n.reason) for n in news(given, status)] == [("Normal", "Serving")]
    assert news(with_pods(None, SERVES, status=status), status) == []


def test_a_transient_failure_says_that_it_is_retried() -> None:
    lost = failing("SourceUnreachable", "connection refused", permanent=False)
    status = status_of(with_pods(None, ("current", {"report": {"state": "Fetching", "failure": lost}})))
    assert says(status, "ModelAvailable") == ("False", "SourceUnreachable")
    assert Type.READY in {c["type"] for c in status["conditions"]}
    assert "(retrying)" in condition(status, "Ready")["message"]
