"""The judge of the chaos ring says no where it must: a ring that cannot fail proves nothing."""

from typing import Any

import pytest

from e2e.chaos.judge import (
    Snapshot,
    lacks,
    needless_rolls,
    silent_about_the_node,
    silent_about_the_store,
    writes_of_the_deposed,
)
from e2e.chaos.proxy import Write
from e2e.chaos.users import Users

Json = dict[str, Any]
NAMES = ("Deployment", "Service", "ServiceAccount", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget")


def objects(**changes: Any) -> dict[str, dict[str, Json]]:
    """A model of two replicas and its children, as they should be, but for `changes`: a kind and what it is to be."""
    labels = {"modelward.dev/model": "a", "app.kubernetes.io/managed-by": "modelward"}
    meta = {"name": "a", "labels": labels, "resourceVersion": "1", "generation": 1}
    boot = [{"name": "boot", "configMap": {"name": "a-boot"}}]
    template = {"spec": {"volumes": boot}}
    conditions = [{"type": "Ready", "status": "True"}, {"type": "EndpointSecured", "message": "enforced"}]
    made: dict[str, dict[str, Json]] = {kind: {"a": {"metadata": meta}} for kind in NAMES}
    status = {"observedGeneration": 1, "conditions": conditions, "cost": {"hourly": "7200"}}
    made["ModelDeployment"] = {"a": {"metadata": meta, "status": status}}
    made["Deployment"]["a"] = {
        "metadata": meta,
        "spec": {"replicas": 2, "progressDeadlineSeconds": 1920, "template": template},
    }
    made["Service"]["a"] = {"metadata": meta, "spec": {"selector": {"modelward.dev/model": "a"}}}
    made["NetworkPolicy"]["a"] = {"metadata": meta, "spec": {"ingress": [{}]}}
    made["ConfigMap"] = {
        "a-boot": {"metadata": meta, "data": {"boot.json": '{"engine": {"threads": 3}}'}},
        "a-policy": {"metadata": meta, "data": {"policy.json": '{"apiVersion": "runtime/v1"}'}},
    }
    return {**made, **changes}


def users(**wanted: Json) -> Users:
    made = Users(None, "chaos", 1)  # type: ignore[arg-type]  # they do nothing here
    made.wanted = wanted or {"a": {"threads": 3, "replicas": 2}}
    return made


def test_nothing_is_lacking_where_all_is_as_it_should_be() -> None:
    assert lacks(Snapshot(objects()), users()) == []


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        (objects(Service={}), {}, "a: no Service"),
        (objects(PodDisruptionBudget={}), {}, "a: its PodDisruptionBudget does not go with its replicas"),
        (objects(), {"a": {"threads": 3, "replicas": 1}}, "a: 2 replicas, not 1"),
        (objects(), {"a": {"threads": 4, "replicas": 2}}, "a: boot.json says 3 threads, not 4"),
        (objects(), {"b": {"threads": 3, "replicas": 2}}, "b: no ModelDeployment"),
        (objects(), {"b": {"threads": 3, "replicas": 2}}, "Deployment a is left of a model that was deleted"),
        (
            objects(NetworkPolicy={"a": {"metadata": {}, "spec": {}}}),
            {},
            "a: the NetworkPolicy's ingress is not repaired",
        ),
        (
            objects(ModelDeployment={"a": {"metadata": {"generation": 2}, "status": {"observedGeneration": 1}}}),
            {},
            "a: status of generation 1, not 2",
        ),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_is_lacking_is_named(found: Any, wanted: dict[str, Json], expected: str) -> None:
    assert expected in lacks(Snapshot(found), users(**wanted))


@pytest.mark.parametrize("shown", ["is not known", "is enforced, by what trying those of other models showed"])
def test_that_its_network_policy_was_not_tried_is_lacking(shown: str) -> None:
    """It will be, and the status then changes, though nothing happens."""
    made = objects()
    secured = made["ModelDeployment"]["a"]["status"]["conditions"][1]
    secured["message"] = f"TLS Off; the network policy {shown}"
    assert lacks(Snapshot(made), users()) == ["a: nobody tried yet whether its network policy is enforced"]
    secured["message"] = "TLS Off; the network policy is enforced"
    assert lacks(Snapshot(made), users()) == []


def test_a_write_between_two_looks_is_shown_with_what_it_changed() -> None:
    meta = {"name": "a", "resourceVersion": "2", "generation": 1}
    after = objects(Service={"a": {"metadata": meta, "spec": {"selector": {"modelward.dev/model": "b"}}}})
    (change,) = Snapshot(objects()).changes(Snapshot(after))
    assert ".spec.selector.modelward.dev/model was 'a', is 'b'" in change


def model(ready: str, reason: str, message: str) -> Snapshot:
    conditions = [{"type": "Ready", "status": ready, "reason": reason, "message": message}]
    return Snapshot({"ModelDeployment": {"a": {"metadata": {"name": "a"}, "status": {"conditions": conditions}}}})


def test_a_model_whose_pods_wait_for_the_store_must_say_so() -> None:
    said = model("False", "SourceUnreachable", "pod a-1: 10.0.0.9 does not answer")
    assert silent_about_the_store(said, {"a": 1.0}, "does not answer") == []
    assert silent_about_the_store(said, {}, "does not answer") == ["no new pod was refused by the store yet"]
    for other in (model("True", "Ready", "does not answer"), model("False", "Starting", "does not answer")):
        assert silent_about_the_store(other, {"a": 1.0}, "does not answer") == ["a: no word of the store"]


def test_a_model_without_its_node_must_not_call_itself_ready() -> None:
    assert silent_about_the_node(model("False", "PodNotReady", "")) == []
    assert silent_about_the_node(model("True", "Ready", "")) == ["a is still Ready"]


def write(operator: str, sent: float, path: str = "/apis/apps/v1/namespaces/chaos/deployments/a") -> Write:
    return Write(operator, "PATCH", path, sent, sent + 0.1, 200)


def lease(operator: str, sent: float) -> Write:
    return write(operator, sent, "/apis/coordination.k8s.io/v1/namespaces/x/leases/modelward-operator")


def test_only_what_was_sent_after_another_had_the_lease_is_a_write_of_the_deposed() -> None:
    writes = [lease("one", 1), write("one", 2), lease("two", 3), write("one", 3.05), write("two", 4), write("one", 5)]
    assert writes_of_the_deposed(writes[:-1]) == []
    (found,) = writes_of_the_deposed(writes)
    assert found.startswith("one wrote PATCH ")
    assert found.endswith("after two took the Lease")


def test_pods_that_get_more_templates_than_changes_are_named() -> None:
    assert needless_rolls({"u": ["x", "y"]}, {"u": "a"}, {"a": 1}) == []
    assert needless_rolls({"u": ["x", "y", "x"]}, {"u": "a"}, {"a": 1}) == ["a: 3 templates for 1 changes"]
