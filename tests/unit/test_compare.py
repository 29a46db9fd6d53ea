"""`is_superset` finds what an apply would change, and nothing else."""

from typing import Any

import pytest

from modelward_operator.cluster.compare import is_superset

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
    ("our owner reference gone", {"ownerReferences": [{"uid": "2"}]}, {"ownerReferences": [{"uid": "1"}]}, False),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "live", "desired", "expected"), CASES, ids=[case[0] for case in CASES])
def test_is_superset(reason: str, live: Any, desired: Any, expected: bool) -> None:
    assert expected == is_superset(live, desired), reason
