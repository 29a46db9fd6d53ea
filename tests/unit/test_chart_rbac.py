"""The operator may do what it does, and nothing else: the chart's rules are compared with the kinds that the code knows."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelward_operator.cluster import authority, kinds, shelf
from modelward_operator.cluster.kinds import Resource
from modelward_operator.plugin.needs import CLUSTERWIDE, NAMESPACED
from tests.makers import drawn, make_given

ROOT = Path(__file__).parents[2]
READ = {"get", "list", "watch"}
Grants = dict[tuple[str, str], set[str]]


def grants(rules: list[dict[str, Any]]) -> Grants:
    """Return the verbs for each group and resource."""
    found: Grants = defaultdict(set)
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found[group, resource] |= set(rule["verbs"])
    return dict(found)


def role(file: str, kind: str, name: str) -> list[dict[str, Any]]:
    objects = yaml.safe_load_all((ROOT / file).read_text())
    return next(item["rules"] for item in objects if item and (item["kind"], item["metadata"]["name"]) == (kind, name))


MANIFESTS = "helm/manifests/modelward.yaml"
OPERATOR = role(MANIFESTS, "ClusterRole", "modelward-operator")


def at(resource: Resource, subresource: str = "") -> tuple[str, str]:
    return resource.group, resource.plural + (f"/{subresource}" if subresource else "")


def test_operator_is_granted_what_its_kinds_need_and_no_more() -> None:
    expected: Grants = {
        at(kinds.MODEL): READ | {"record"},  # never a spec; `record` lets it write histories
        at(kinds.MODEL, "status"): {"patch"},
        at(kinds.BUDGET, "status"): {"patch"},
        at(kinds.MODEL, "finalizers"): {"update"},  # blockOwnerDeletion
        **{at(child): READ | {"create", "patch", "delete"} for child in kinds.CHILDREN},
        **{at(observed): READ for observed in (*kinds.OBSERVED, *kinds.SURROUNDINGS, *kinds.NAMED, kinds.GATEWAY)},
        at(kinds.REVISION): {
            "get",
            "list",
            "create",
            "patch",
            "delete",
        },  # entries of the history: made, forgotten, taken back; what they say never changes
        at(kinds.EVENT): {"list", "create"},
        at(kinds.LEDGER): {"create", "get", "spend"},  # it makes them; the rest it only grants
        at(kinds.LEDGER, "status"): {"update"},
        at(kinds.COSTS): {
            "list",
            "create",
            "update",
            "delete",
            "record",
        },  # read at the start, written against a version, pruned
        at(kinds.SECRET): {"create"},  # the key of a managed certificate, which nobody but the pods reads
        at(kinds.MODEL, "predict"): {"create"},  # held to be granted to allowedSubjects
        ("rbac.authorization.k8s.io", "clusterroles"): {"bind"},
    }
    assert expected == grants(OPERATOR)


def test_doctor_asks_about_these_rights() -> None:
    asked = {(group, resource): set(verbs) for group, resource, verbs in (*NAMESPACED, *CLUSTERWIDE)}
    granted = {key: verbs for key, verbs in grants(OPERATOR).items() if verbs != {"bind"}}
    assert granted == asked


def test_pods_are_granted_no_more_of_ledgers_than_the_operator_holds() -> None:
    golden = ROOT / "tests/golden/plan/privacy-differential.yaml"
    rules = next(item["rules"] for item in yaml.safe_load_all(golden.read_text()) if item["kind"] == "Role")
    ours = grants(OPERATOR)
    assert {at(kinds.LEDGER), at(kinds.LEDGER, "status")} == set(grants(rules))
    for resource, verbs in grants(rules).items():
        assert verbs <= ours[resource]
    for rule in rules:
        assert sorted(rule["resourceNames"]) == [f"differential-{digit}" for digit in "0123456789abcdef"]


def test_operator_reads_no_secret_and_has_no_wildcard() -> None:
    for rule in OPERATOR:
        assert "secrets" not in rule["resources"] or rule["verbs"] == ["create"]
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]


def test_the_one_cluster_role_that_it_may_bind_lets_pods_ask_and_nothing_else() -> None:
    rules = [rule for rule in OPERATOR if rule["verbs"] == ["bind"]]
    assert [["modelward-runtime-access-review"]] == [rule["resourceNames"] for rule in rules]
    granted = grants(role(MANIFESTS, "ClusterRole", "modelward-runtime-access-review"))
    assert {("authorization.k8s.io", "localsubjectaccessreviews"): {"create"}} == granted
    given = make_given()
    (binding,) = (o for o in drawn(given).objects if o["kind"] == "RoleBinding")
    assert binding["roleRef"]["name"] == "modelward-runtime-access-review"


def test_of_secrets_it_reads_its_own_ca_alone() -> None:
    rules = role(MANIFESTS, "Role", "modelward-operator-ca")
    assert {at(kinds.SECRET): {"create", "get", "update"}} == grants(rules)
    assert [["create"], ["get", "update"]] == [rule["verbs"] for rule in rules]
    assert rules[1]["resourceNames"] == [authority.NAME, authority.ACTIVATOR]


def test_the_activator_reads_routes_and_endpoints_and_writes_nothing() -> None:
    assert {at(kinds.CONFIG_MAP): READ} == grants(role(MANIFESTS, "Role", "modelward-activator"))
    assert {at(kinds.ENDPOINT_SLICE): READ} == grants(role(MANIFESTS, "ClusterRole", "modelward-activator"))
    golden = "tests/golden/chart/namespaced.golden.yaml"
    assert {at(kinds.ENDPOINT_SLICE): READ} == grants(role(golden, "Role", "modelward-activator-endpoints"))


def test_where_the_operator_lives_it_may_keep_the_activators_table() -> None:
    expected: Grants = {
        at(kinds.CONFIG_MAP): READ | {"create", "patch", "delete"},
        at(kinds.NETWORK_POLICY): READ | {"create", "patch", "delete"},
        at(kinds.POD): READ,
        at(kinds.DEPLOYMENT): {"get"},
    }
    assert expected == grants(role(MANIFESTS, "Role", "modelward-operator-activator"))
    assert {resource for resource, _ in shelf.FOLLOWED} <= {kinds.CONFIG_MAP, kinds.NETWORK_POLICY, kinds.POD}


def test_it_looks_up_where_the_api_server_is_and_no_other_service() -> None:
    rules = role(MANIFESTS, "Role", "modelward-operator-api-address")
    assert {at(kinds.SERVICE): {"get"}, at(kinds.ENDPOINT_SLICE): {"get"}} == grants(rules)
    assert [["kubernetes"], ["kubernetes"]] == [rule["resourceNames"] for rule in rules]


def subjects(file: str) -> list[str]:
    """Return who may make TokenReviews."""
    objects = [item for item in yaml.safe_load_all((ROOT / file).read_text()) if item]
    (binding,) = (
        item for item in objects if item["kind"] == "ClusterRoleBinding" and "tokenreview" in item["metadata"]["name"]
    )
    return [f"{subject['kind']} {subject['name']}" for subject in binding["subjects"]]


def test_pods_may_ask_whose_a_token_is_where_models_are_served() -> None:
    assert {("authentication.k8s.io", "tokenreviews"): {"create"}} == grants(
        role(MANIFESTS, "ClusterRole", "modelward-runtime-tokenreview")
    )
    assert subjects(MANIFESTS) == ["Group system:serviceaccounts"]
    golden = "tests/golden/chart/namespaced.golden.yaml"
    assert subjects(golden) == [
        "Group system:serviceaccounts:risk",
        "Group system:serviceaccounts:shop",
        "ServiceAccount modelward-activator",
    ]


def test_lease_is_the_only_one_that_it_may_take() -> None:
    rules = role(MANIFESTS, "Role", "modelward-operator-lease")
    assert {at(kinds.LEASE): {"create", "get", "update"}} == grants(rules)
    for rule in rules:
        assert rule["verbs"] == ["create"] or rule["resourceNames"] == ["modelward-operator"]


def test_an_install_for_some_namespaces_grants_the_same_there_and_nothing_in_the_cluster() -> None:
    golden = "tests/golden/chart/namespaced.golden.yaml"
    cluster = {at(kind) for kind in (kinds.POLICY, kinds.NODE, kinds.PRICES, kinds.COSTS)}  # without prices no ledger
    expected = {name: verbs for name, verbs in grants(OPERATOR).items() if name not in cluster}
    expected[at(kinds.NAMESPACE)] = {"get"}  # a Role reaches the Namespace that it lies in, by name
    assert expected == grants(role(golden, "Role", "modelward-operator"))
    objects = [item for item in yaml.safe_load_all((ROOT / golden).read_text()) if item]
    bound = [item["metadata"]["name"] for item in objects if item["kind"] == "ClusterRoleBinding"]
    assert bound == ["modelward-runtime-tokenreview"], "a right of the pods; the operator has none of the cluster"
    assert ["risk", "shop"] == [
        item["metadata"]["namespace"]
        for item in objects
        if (item["kind"], item["metadata"]["name"]) == ("Role", "modelward-operator")
    ]


@pytest.mark.parametrize(("name", "writes"), [("modelward-view", False), ("modelward-edit", True)])
def test_users_roles_never_touch_the_status(name: str, *, writes: bool) -> None:
    granted = grants(role(MANIFESTS, "ClusterRole", name))
    assert {group for group, _ in granted} == {"modelward.dev"}
    assert granted.get(("modelward.dev", "modeldeployments/status"), set()) <= READ
    assert writes == ("create" in granted["modelward.dev", "modeldeployments"])


def test_writing_policies_is_for_admins_and_relaxing_for_nobody_by_default() -> None:
    granted = {
        name: grants(role(MANIFESTS, "ClusterRole", f"modelward-{name}"))
        for name in ("edit", "privacy", "budgets", "relax")
    }
    policies = ("modelward.dev", "privacypolicies")
    assert policies not in granted["edit"]
    assert {policies: {"create", "update", "patch", "delete", "deletecollection"}} == granted["privacy"]
    budgets = ("modelward.dev", "costbudgets")
    assert budgets not in granted["edit"]
    assert {budgets: {"create", "update", "patch", "delete", "deletecollection"}} == granted["budgets"]
    relaxed = ("modeldeployments", "privacypolicies", "privacyledgers", "costbudgets")
    assert {("modelward.dev", plural): {"relax"} for plural in relaxed} == granted["relax"]
    objects = [item for item in yaml.safe_load_all((ROOT / MANIFESTS).read_text()) if item]
    labels = next(item["metadata"]["labels"] for item in objects if item["metadata"]["name"] == "modelward-relax")
    assert not [label for label in labels if "aggregate-to" in label]
    assert not [item for item in objects if item.get("roleRef", {}).get("name") == "modelward-relax"]
