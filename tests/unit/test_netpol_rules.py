"""The test enforcer's reading of NetworkPolicy against the examples of the API's documentation.

Each row of a table is a policy, an attempt and its outcome. The evaluator below reads the compiled lists the way the
nftables chains do: a permission of every isolated side is needed.
"""

from typing import Any

import pytest

from e2e.cluster.netpol_rules import Isolation, compile_policies, matches, merge, within

NAMESPACES = {
    "default": {"project": "other"},
    "shop": {"project": "myproject", "kubernetes.io/metadata.name": "shop"},
    "risk": {"kubernetes.io/metadata.name": "risk"},
}
PORTS = [{"name": "redis", "containerPort": 6379}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]
PODS = {
    # name: (namespace, address, labels, container ports)
    "db": ("default", "10.244.0.2", {"role": "db"}, PORTS),
    "frontend": ("default", "10.244.0.3", {"role": "frontend"}, []),
    "other": ("default", "10.244.0.4", {"role": "other"}, [{"name": "redis", "containerPort": 7000}]),
    "checkout": ("shop", "10.244.0.5", {"role": "frontend", "user": "alice"}, []),
    "batch": ("shop", "10.244.0.6", {"role": "client"}, []),
    "scorer": ("risk", "10.244.0.7", {"role": "db"}, PORTS),
}
OUTSIDE = {"partner": "172.17.2.9", "banned": "172.17.1.9", "dns": "8.8.8.8", "service": "10.0.0.7"}


def _pod(name: str) -> dict[str, Any]:
    namespace, address, labels, ports = PODS[name]
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"containers": [{"name": "main", "ports": ports}]},
        "status": {"phase": "Running", "podIP": address},
    }


def _compile(*policies: dict[str, Any], pods: list[dict[str, Any]] | None = None) -> tuple[Isolation, ...]:
    namespaces = [{"metadata": {"name": name, "labels": labels}} for name, labels in NAMESPACES.items()]
    return compile_policies([_pod(name) for name in PODS] if pods is None else pods, namespaces, policies)


def _policy(namespace: str = "default", name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"podSelector": {}, **spec}}


def _address(name: str) -> str:
    return PODS[name][1] if name in PODS else OUTSIDE[name]


def _passes(isolations: tuple[Isolation, ...], source: str, target: str, port: int, protocol: str = "TCP") -> bool:
    ends = {"Egress": (_address(source), _address(target)), "Ingress": (_address(target), _address(source))}
    for one in isolations:
        isolated, peer = ends[one.direction]
        if one.pod.address == isolated and not any(
            (allow.peers is None or within(peer, allow.peers))
            and not within(peer, allow.excepted)
            and allow.protocol in (None, protocol)
            and any(first <= port <= last for first, last in allow.spans)
            for allow in one.allows
        ):
            return False
    return True


DOCUMENTED = _policy(
    name="test-network-policy",
    podSelector={"matchLabels": {"role": "db"}},
    policyTypes=["Ingress", "Egress"],
    ingress=[
        {
            "from": [
                {"ipBlock": {"cidr": "172.17.0.0/16", "except": ["172.17.1.0/24"]}},
                {"namespaceSelector": {"matchLabels": {"project": "myproject"}}},
                {"podSelector": {"matchLabels": {"role": "frontend"}}},
            ],
            "ports": [{"protocol": "TCP", "port": 6379}],
        }
    ],
    egress=[{"to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}], "ports": [{"protocol": "TCP", "port": 5978}]}],
)
DENY_INGRESS = _policy(policyTypes=["Ingress"])
DENY_EGRESS = _policy(policyTypes=["Egress"])
ALLOW_INGRESS = _policy(name="q", policyTypes=["Ingress"], ingress=[{}])
ALLOW_EGRESS = _policy(name="q", policyTypes=["Egress"], egress=[{}])
ALICE = {
    "namespaceSelector": {"matchLabels": {"project": "myproject"}},
    "podSelector": {"matchLabels": {"user": "alice"}},
}
BOTH_AT_ONCE = _policy(ingress=[{"from": [ALICE]}])
EITHER = _policy(ingress=[{"from": [{key: value} for key, value in ALICE.items()]}])
RANGE = _policy(
    podSelector={"matchLabels": {"role": "db"}},
    policyTypes=["Egress"],
    egress=[
        {"to": [{"ipBlock": {"cidr": "10.0.0.0/24"}}], "ports": [{"protocol": "TCP", "port": 32000, "endPort": 32768}]}
    ],
)
BY_EXPRESSION = _policy(
    policyTypes=["Egress"],
    egress=[
        {
            "to": [
                {
                    "namespaceSelector": {
                        "matchExpressions": [
                            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop", "backend"]}
                        ]
                    }
                }
            ]
        }
    ],
)
NAMED = _policy(ingress=[{"ports": [{"port": "redis"}]}])
NAMED_OUT = _policy(
    "shop", policyTypes=["Egress"], egress=[{"to": [{"namespaceSelector": {}}], "ports": [{"port": "redis"}]}]
)
NAMED_BLOCK = _policy(
    "shop",
    policyTypes=["Egress"],
    egress=[
        {"to": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.0.4/32"]}}], "ports": [{"port": "redis"}]}
    ],
)
UDP_ONLY = _policy(ingress=[{"ports": [{"protocol": "UDP", "port": 53}]}])
ANY_UDP = _policy(ingress=[{"ports": [{"protocol": "UDP"}]}])
OWN_NAMESPACE = _policy(ingress=[{"from": [{"podSelector": {}}]}])
ALL_NAMESPACES = _policy(ingress=[{"from": [{"namespaceSelector": {}}]}])
NOBODY_FITS = _policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"role": "none"}}}]}])
IPV6 = _policy(ingress=[{"from": [{"ipBlock": {"cidr": "2001:db8::/64"}}]}])
EMPTY_LISTS = _policy(ingress=[{"from": [], "ports": []}])

CASES: list[tuple[str, list[dict[str, Any]], str, str, int, bool]] = [
    # reason, policies, source, target, port, passes
    ("no policy isolates nobody", [], "batch", "db", 6379, True),
    ("documented: ipBlock admits", [DOCUMENTED], "partner", "db", 6379, True),
    ("documented: except cuts out", [DOCUMENTED], "banned", "db", 6379, False),
    ("documented: any pod of a selected namespace", [DOCUMENTED], "batch", "db", 6379, True),
    ("documented: podSelector alone means the own namespace", [DOCUMENTED], "frontend", "db", 6379, True),
    ("documented: another role of the own namespace", [DOCUMENTED], "other", "db", 6379, False),
    ("documented: another port", [DOCUMENTED], "frontend", "db", 6380, False),
    ("documented: egress to the block and port", [DOCUMENTED], "db", "service", 5978, True),
    ("documented: egress elsewhere", [DOCUMENTED], "db", "dns", 5978, False),
    ("documented: egress on another port", [DOCUMENTED], "db", "service", 5979, False),
    ("documented: a pod that it does not select stays open", [DOCUMENTED], "batch", "other", 1, True),
    ("documented: the same label in another namespace stays open", [DOCUMENTED], "other", "scorer", 6379, True),
    ("default deny ingress", [DENY_INGRESS], "frontend", "db", 6379, False),
    ("default deny ingress leaves egress open", [DENY_INGRESS], "db", "dns", 53, True),
    ("default deny ingress of one namespace only", [DENY_INGRESS], "frontend", "batch", 80, True),
    ("default deny egress", [DENY_EGRESS], "db", "dns", 53, False),
    ("default deny egress leaves ingress open", [DENY_EGRESS], "batch", "db", 6379, True),
    ("both ends must allow: the source denies", [DENY_EGRESS, ALLOW_INGRESS], "frontend", "db", 6379, False),
    ("allow all ingress wins by union", [DENY_INGRESS, ALLOW_INGRESS], "batch", "db", 1, True),
    ("allow all egress wins by union", [DENY_EGRESS, ALLOW_EGRESS], "db", "dns", 53, True),
    ("one peer with both selectors: both hold", [BOTH_AT_ONCE], "checkout", "db", 1, True),
    ("one peer with both selectors: only the namespace", [BOTH_AT_ONCE], "batch", "db", 1, False),
    ("two peers: either suffices", [EITHER], "batch", "db", 1, True),
    ("two peers: neither", [EITHER], "frontend", "db", 1, False),
    ("endPort: inside", [RANGE], "db", "service", 32500, True),
    ("endPort: the last one", [RANGE], "db", "service", 32768, True),
    ("endPort: beyond", [RANGE], "db", "service", 32769, False),
    ("namespaces by expression on the name label", [BY_EXPRESSION], "db", "checkout", 443, True),
    ("namespaces by expression: another", [BY_EXPRESSION], "db", "scorer", 443, False),
    ("named port is the number of the receiving pod", [NAMED], "batch", "db", 6379, True),
    ("named port: the same name elsewhere is another number", [NAMED], "batch", "other", 7000, True),
    ("named port: not another pod's number", [NAMED], "batch", "other", 6379, False),
    ("named port: a pod without that name", [NAMED], "batch", "frontend", 6379, False),
    ("named egress port follows each receiver", [NAMED_OUT], "batch", "other", 7000, True),
    ("named egress port: not the number of another receiver", [NAMED_OUT], "batch", "db", 7000, False),
    ("named egress port with a block: a pod inside", [NAMED_BLOCK], "batch", "db", 6379, True),
    ("named egress port with a block: an excepted pod", [NAMED_BLOCK], "batch", "other", 7000, False),
    ("a UDP port says nothing about TCP", [UDP_ONLY], "batch", "db", 53, False),
    ("a protocol without a port, other protocol", [ANY_UDP], "batch", "db", 53, False),
    ("an empty podSelector is the whole own namespace", [OWN_NAMESPACE], "other", "db", 1, True),
    ("an empty podSelector is no other namespace", [OWN_NAMESPACE], "batch", "db", 1, False),
    ("an empty namespaceSelector is every namespace", [ALL_NAMESPACES], "scorer", "db", 1, True),
    ("an empty namespaceSelector is no outside address", [ALL_NAMESPACES], "partner", "db", 1, False),
    ("a peer that fits nobody is not anybody", [NOBODY_FITS], "frontend", "db", 1, False),
    ("an IPv6 block admits no IPv4", [IPV6], "frontend", "db", 1, False),
    ("empty from and ports are absent ones", [EMPTY_LISTS], "partner", "db", 1, True),
]


@pytest.mark.parametrize(
    ("policies", "source", "target", "port", "passes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_connection_passes_as_the_documentation_says(
    policies: list[dict[str, Any]], source: str, target: str, port: int, passes: bool
) -> None:
    assert passes == _passes(_compile(*policies), source, target, port)


@pytest.mark.parametrize(("policy", "passes"), [(UDP_ONLY, True), (ANY_UDP, True), (NAMED, False)])
def test_protocols_are_told_apart(policy: dict[str, Any], passes: bool) -> None:
    assert passes == _passes(_compile(policy), "batch", "db", 53, "UDP")


@pytest.mark.parametrize(
    ("spec", "directions"),
    [
        ({}, {"Ingress"}),
        ({"ingress": [{}]}, {"Ingress"}),
        ({"egress": [{}]}, {"Ingress", "Egress"}),
        ({"policyTypes": ["Egress"], "ingress": [{}]}, {"Egress"}),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, {"Ingress"}),
    ],
)
def test_policy_types_default_to_ingress_and_to_egress_when_it_has_rules(
    spec: dict[str, Any], directions: set[str]
) -> None:
    assert directions == {one.direction for one in _compile(_policy(**spec)) if one.pod.name == "db"}


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("no address yet", {"status": {"phase": "Pending"}}),
        ("finished", {"status": {"phase": "Succeeded", "podIP": "10.244.0.2"}}),
        ("on the host's network", {"spec": {"containers": [], "hostNetwork": True}}),
    ],
)
def test_a_pod_without_an_address_of_its_own_is_no_subject(reason: str, change: dict[str, Any]) -> None:
    assert _compile(DENY_INGRESS, pods=[{**_pod("db"), **change}]) == (), reason


def test_a_reused_address_belongs_to_the_younger_pod() -> None:
    old, young = _pod("db"), _pod("db")
    young["metadata"] |= {"name": "young", "creationTimestamp": "2026-01-02T00:00:00Z", "labels": {}}
    assert [one.pod.name for one in _compile(DENY_INGRESS, pods=[young, old])] == ["young"]


def test_a_sidecars_named_port_counts_and_an_init_containers_does_not() -> None:
    pod = _pod("frontend")
    named = {"name": "x", "ports": [{"name": "redis", "containerPort": 9}]}
    pod["spec"]["initContainers"] = [{**named, "restartPolicy": "Always"}]
    (isolation,) = _compile(NAMED, pods=[pod])
    assert isolation.allows[0].spans == ((9, 9),)
    pod["spec"]["initContainers"] = [named]
    (isolation,) = _compile(NAMED, pods=[pod])
    assert isolation.allows == ()


@pytest.mark.parametrize(
    ("operator", "values", "labels", "holds"),
    [
        ("In", ["a", "b"], {"k": "a"}, True),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {"k": "a"}, False),
        ("NotIn", ["a"], {}, True),
        ("Exists", None, {"k": ""}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {}, True),
        ("DoesNotExist", None, {"k": "a"}, False),
    ],
)
def test_label_expressions(operator: str, values: list[str] | None, labels: dict[str, str], holds: bool) -> None:
    assert holds == matches({"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}, labels)


def test_an_unknown_label_operator_is_an_error() -> None:
    with pytest.raises(ValueError, match="Near"):
        matches({"matchExpressions": [{"key": "k", "operator": "Near"}]}, {})


def test_port_spans_merge() -> None:
    assert merge([(80, 80), (1, 5), (4, 9), (10, 10), (90, 95)]) == ((1, 10), (80, 80), (90, 95))
