"""The history: what serves is noted down once, whatever changes that is not how many run; and an entry gives back the spec it came from."""

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward_operator.api.modeldeployment import ModelDeploymentSpec
from modelward_operator.api.parse import parse
from modelward_operator.facts import Applied, Given, History, Json, Pod
from modelward_operator.plan import names
from modelward_operator.plan.history import content, entry, hash_of, is_entry, noted
from modelward_operator.policies.rooms import rule
from modelward_operator.status.summarise import look_again_after, summarise
from tests.makers import NOW, READY_REPORT, current_revision, drawn, make_given, make_model, make_pod, parsed
from tests.specs import ACCEPTED, Good, model

EXAMPLES = sorted((Path(__file__).parents[2] / "crds" / "examples").glob("*.yaml"))
DIGEST = "sha256:" + "ab" * 32
SPEC: Json = {"model": {"uri": "s3://models/fraud/7/"}}
SERVING: Json = {"number": 3, "oldest": 1, "hash": "", "servedTime": "2026-11-20T10:00:00Z"}


def told(digest: object) -> Json:
    return {**READY_REPORT, "model": {**READY_REPORT["model"], "digest": digest}}


def serving(given: Given, *pods: Pod) -> Given:
    """The facts with pods of the present template."""
    now = current_revision(given)
    marked = [
        dataclasses.replace(
            pod,
            raw={**pod.raw, "metadata": {**pod.raw["metadata"], "annotations": {names.REVISION: now}}},
        )
        for pod in pods or [make_pod(is_ready=True, report=READY_REPORT)]
    ]
    return dataclasses.replace(given, pods=tuple(marked))


def history(given: Given) -> History:
    found = drawn(given).history
    assert found is not None
    return found


def test_what_serves_is_due_with_its_digest_its_time_and_its_cause() -> None:
    given = serving(make_given({"scaling": {"minReplicas": 2, "maxReplicas": 4}, "suspend": False}))
    given.raw["metadata"]["annotations"] = {names.CHANGE_CAUSE: "Retrained on October"}
    due = history(given)
    assert {"model": {"uri": "s3://models/fraud/7/"}} == due.data["spec"]
    assert {"digest": DIGEST, "time": "2026-11-23T12:00:00Z"} == due.data["served"]
    assert (3, "Retrained on October", 5) == (due.data["generation"], due.cause, due.limit)
    drawn_entry = entry(given, due, 4)
    assert ("fraud-rev-4", 4) == (drawn_entry["metadata"]["name"], drawn_entry["revision"])
    assert "Retrained on October" == drawn_entry["metadata"]["annotations"]["kubernetes.io/change-cause"]
    assert given.uid == drawn_entry["metadata"]["ownerReferences"][0]["uid"]
    assert {"number": 4, "oldest": 2, "hash": due.hash, "servedTime": "2026-11-23T12:00:00Z"} == noted(4, 2, due.data)


@pytest.mark.parametrize(
    ("reason", "pods"),
    [
        ("nothing runs", ()),
        ("a pod is on the way", (make_pod(report=READY_REPORT),)),
        ("a pod of the old template serves", (make_pod(is_ready=True, report=READY_REPORT),)),
        ("a ready pod has not been heard", (make_pod(is_ready=True),)),
        ("a pod ends", (make_pod(is_ready=True, report=READY_REPORT, is_ending=True),)),
        ("what it says is no digest", (make_pod(is_ready=True, report=told("sha256:AB")),)),
        ("what it says is not even text", (make_pod(is_ready=True, report=told(7)),)),
        (
            "two pods have loaded different bytes",
            (
                make_pod("a", is_ready=True, report=READY_REPORT),
                make_pod("b", is_ready=True, report=told("sha256:" + "cd" * 32)),
            ),
        ),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_nothing_is_due(reason: str, pods: tuple[Pod, ...]) -> None:
    given = make_given()
    given = (
        dataclasses.replace(given, pods=pods) if "old template" in reason else serving(given, *pods) if pods else given
    )
    assert {} == history(given).data


def at(spec: Json, digest: str = DIGEST) -> Json:
    """The status in which this spec has served."""
    return {"revision": {**SERVING, "hash": hash_of(content(parsed(make_given(spec))), digest)}}


@pytest.mark.parametrize(
    ("reason", "spec", "is_due"),
    [
        ("the same", {}, False),
        ("the same, written out", {"suspend": False, "resources": {}, "runtime": {"threads": 0}}, False),
        ("other bounds of replicas", {"scaling": {"minReplicas": 2, "maxReplicas": 9}}, False),
        ("another strategy", {"rollout": {"strategy": "Recreate", "revisionHistoryLimit": 2}}, False),
        ("another model", {"model": {"uri": "s3://models/fraud/8/"}}, True),
        ("more memory", {"resources": {"limits": {"memory": "2Gi"}}}, True),
        ("other callers, which rolls no pod", {"security": {"authentication": {"mode": "None"}}}, True),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_revision_is_any_change_but_of_how_many_run(reason: str, spec: Json, is_due: bool) -> None:
    assert is_due == bool(history(serving(make_given(spec, status=at({})))).data), reason


def test_other_bytes_under_the_same_spec_are_another_revision() -> None:
    given = make_given(status=at({}))
    assert not history(serving(given)).data
    moved = serving(given, make_pod(is_ready=True, report=told("sha256:" + "cd" * 32)))
    assert "sha256:" + "cd" * 32 == history(moved).data["served"]["digest"]


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.reason)
def test_an_entry_gives_back_the_spec(case: Good) -> None:
    check_round_trip(model(case.spec))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_an_entry_gives_back_the_spec_of_an_example(file: Path) -> None:
    for document in yaml.safe_load_all(file.read_text()):
        if document["kind"] == "ModelDeployment":
            check_round_trip(document)


def check_round_trip(raw: dict[str, Any]) -> None:
    spec = parse(raw)
    assert isinstance(spec, ModelDeploymentSpec)
    kept = content(spec)
    aside = {name: raw["spec"][name] for name in ("suspend", "scaling", "rollout") if name in raw["spec"]}
    assert spec == parse({**raw, "spec": {**kept, **aside}})
    again = parse(make_model(kept))
    assert isinstance(again, ModelDeploymentSpec)
    assert kept == content(again), "what is put back is the same revision"


def test_the_status_says_what_was_noted_down_and_a_failure_is_tried_again() -> None:
    given = serving(make_given())
    spec, plan = parsed(given), drawn(given)
    ruling = rule(given, spec)
    fine = Applied(revision=SERVING)
    status = summarise(given, spec, ruling, plan, fine)
    assert SERVING == status["revision"]
    assert look_again_after(given, status, fine) is None
    missed = Applied(unrecorded=True)
    status = summarise(given, spec, ruling, plan, missed)
    assert "revision" not in status
    assert timedelta(seconds=60).total_seconds() == look_again_after(given, status, missed)
    assert NOW == given.now


@pytest.mark.parametrize(
    "planted",
    [
        {"revision": 0},
        {"revision": 1 << 63},
        {"revision": "1"},
        {"data": {"spec": SPEC, "served": {"digest": DIGEST, "time": "soon"}}},
        {"data": {"spec": SPEC, "served": {"digest": DIGEST, "time": "2026-02-30T10:00:00Z"}}},
        {"data": {"spec": SPEC, "served": {"digest": DIGEST, "time": "2026-1-1T10:00:00Z"}}},
        {"data": {"spec": SPEC, "served": {"digest": "sha256:abc", "time": "2026-11-20T10:00:00Z"}}},
        {"data": {"spec": [], "served": {"digest": DIGEST, "time": "2026-11-20T10:00:00Z"}}},
        {"data": {"spec": {}, "served": {"digest": DIGEST, "time": "2026-11-20T10:00:00Z"}}},
        {"data": {"spec": {"model": []}, "served": {"digest": DIGEST, "time": "2026-11-20T10:00:00Z"}}},
        {"data": {"spec": SPEC}},
        {"data": None},
    ],
)
def test_what_the_status_could_not_repeat_is_no_entry(planted: dict[str, Any]) -> None:
    """Anybody may make a ControllerRevision: one in which the status would be refused would keep all conditions from being told."""
    given = serving(make_given())
    drawn_entry = entry(given, history(given), 4)
    assert is_entry(drawn_entry)
    assert not is_entry({**drawn_entry, **planted})
