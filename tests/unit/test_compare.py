"""`is_superset` finds what an apply would change, and nothing else."""

from typing import Any

import pytest

from modelward_operator.cluster.compare import differences, is_superset, unclashed

CASES: list[tuple[str, Any, Any, bool]] = [
    ("same", {"a": 1}, {"a": 1}, True),
    ("others' fields stay", {"a": 1, "b": 2}, {"a": 1}, True),
    ("other value", {"a": 2}, {"a": 1}, False),
    ("field gone", {}, {"a": 1}, False),
    ("nested", {"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
    ("nested field gone", {"a": {"c": 2}}, {"a": {"b": 1}}, False),
    ("an empty map that the server drops", {}, {"emptyDir": {}}, True),
    ("an empty list that the server drops", {}, {"env": []}, True),
    ("true is not 1", {"a": 1}, {"a": True}, False),
    ("a map where text was", {"a": "x"}, {"a": {"b": 1}}, False),
    ("text where a map was", {"a": {"b": 1}}, {"a": "x"}, False),
    ("a list where a map was", {"containers": {"name": "x"}}, {"containers": [{"name": "x"}]}, False),
    (
        "a sidecar of others",
        {"containers": [{"name": "mesh"}, {"name": "runtime", "image": "a", "x": 1}]},
        {"containers": [{"name": "runtime", "image": "a"}]},
        True,
    ),
    (
        "our container changed",
        {"containers": [{"name": "runtime", "image": "b"}]},
        {"containers": [{"name": "runtime", "image": "a"}]},
        False,
    ),
    (
        "a variable of others",
        {"containers": [{"name": "r", "env": [{"name": "B"}, {"name": "A", "value": "1"}]}]},
        {"containers": [{"name": "r", "env": [{"name": "A", "value": "1"}]}]},
        True,
    ),
    (
        "a container's port by number and protocol",
        {"containers": [{"name": "r", "ports": [{"containerPort": 1, "protocol": "TCP", "name": "x"}]}]},
        {"containers": [{"name": "r", "ports": [{"containerPort": 1, "name": "x"}]}]},
        True,
    ),
    (
        "a Service's port got another target",
        {"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 9}]}},
        {"spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 8}]}},
        False,
    ),
    ("an argument more", {"args": ["run", "--evil"]}, {"args": ["run"]}, False),
    ("arguments in another order", {"args": ["b", "a"]}, {"args": ["a", "b"]}, False),
    (
        "a toleration more",
        {"tolerations": [{"key": "a"}, {"operator": "Exists"}]},
        {"tolerations": [{"key": "a"}]},
        False,
    ),
    (
        "a peer of an atomic list widened",
        {"ingress": [{"from": [{"namespaceSelector": {}}], "ports": []}]},
        {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}], "ports": []}]},
        False,
    ),
    ("a selector of others", {"selector": {"a": "b", "c": "d"}}, {"selector": {"a": "b"}}, False),
    ("a pod selector widened", {"podSelector": {}}, {"podSelector": {"matchLabels": {"a": "b"}}}, False),
    ("an owner of others", {"ownerReferences": [{"uid": "2"}, {"uid": "1", "controller": True}]},
     {"ownerReferences": [{"uid": "1", "controller": True}]}, True),
    ("our owner reference got a field", {"ownerReferences": [{"uid": "1", "blockOwnerDeletion": True}]},
     {"ownerReferences": [{"uid": "1"}]}, False),
    (
        "a reference to a Secret became optional",
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}}]},
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        False,
    ),
    (
        "a variable of ours comes twice",
        {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
        {"env": [{"name": "A", "value": "1"}]},
        False,
    ),
    (
        "a variable of others comes twice",
        {"env": [{"name": "A", "value": "1"}, {"name": "B"}, {"name": "B"}]},
        {"env": [{"name": "A", "value": "1"}]},
        True,
    ),
    ("our owner reference gone", {"ownerReferences": [{"uid": "2"}]}, {"ownerReferences": [{"uid": "1"}]}, False),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "live", "desired", "expected"), CASES, ids=[case[0] for case in CASES])
def test_is_superset(reason: str, live: Any, desired: Any, expected: bool) -> None:
    assert expected == is_superset(live, desired), reason


def test_differences_say_where_and_what_is_there() -> None:
    desired = {
        "spec": {"replicas": 2, "ports": [{"port": 80, "name": "http"}], "selector": {"a": "b"}},
        "data": {"x": "y"},
    }
    live = {"spec": {"replicas": 3, "ports": [{"port": 80, "protocol": "TCP", "name": "web"}], "selector": {}}}
    assert list(differences(live, desired)) == [
        (("spec", "replicas"), 3),
        (("spec", "ports", "[80, TCP]", "name"), "web"),
        (("spec", "selector"), {}),
        (("data",), None),
    ]


def test_what_clashes_with_ours_goes_and_the_rest_of_others_stays() -> None:
    ports = [
        {"name": "http", "containerPort": 80, "protocol": "UDP"},
        {"name": "mesh", "containerPort": 9, "protocol": "TCP"},
    ]
    live = {
        "kind": "Deployment",
        "spec": {
            "paused": True,
            "containers": [
                {"name": "mesh", "image": "m"},
                {"name": "r", "image": "x", "ports": ports, "env": [{"name": "B"}], "args": ["evil"]},
            ],
        },
        "status": {"replicas": 1},
    }
    ours = {
        "name": "r",
        "image": "r",
        "args": ["run"],
        "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}],
    }
    desired = {"spec": {"containers": [ours]}}
    found = unclashed(live, desired)
    assert is_superset(found, desired)
    kept = {**ours, "ports": [*ours["ports"], ports[1]], "env": [{"name": "B"}]}
    assert found == {"spec": {"paused": True, "containers": [kept, {"name": "mesh", "image": "m"}]}}


def test_one_volume_may_be_mounted_twice() -> None:
    mounts = [{"name": "v", "mountPath": "/theirs"}]
    desired = {"containers": [{"name": "r", "volumeMounts": [{"name": "v", "mountPath": "/ours"}]}]}
    found = unclashed({"containers": [{"name": "r", "volumeMounts": mounts}]}, desired)
    assert found["containers"][0]["volumeMounts"] == [{"name": "v", "mountPath": "/ours"}, *mounts]
