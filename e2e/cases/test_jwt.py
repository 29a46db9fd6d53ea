"""Callers with tokens of an OIDC issuer: the cluster's own, whose discovery and keys the API server publishes, taken as any other one.

To the model they are strangers with a name of that issuer's. RBAC grants that name, and nothing that the cluster gives its own accounts.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from e2e.cases.callers import CODES, WAYS, claiming, over_rest, token, unsigned
from e2e.cases.case import Case
from e2e.cases.conftest import open_case
from e2e.cases.kube import Kube, Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.place import Store

pytestmark = pytest.mark.core
AUDIENCE = "fraud-scorer"
PREFIX = "cluster:"
RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Issued:
    """A served model that trusts an issuer; one of its users may call, another may not."""

    case: Case

    def bearer(self, account: str, audience: str = AUDIENCE) -> str:
        return "Bearer " + token(self.case.kube, self.case.namespace, account, audience)

    def user(self, account: str) -> str:
        return f"system:serviceaccount:{self.case.namespace}:{account}"


def published(name: str) -> Object:
    """Let everybody read the issuer's keys, as an administrator does who lets others trust the cluster's tokens."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "system:service-account-issuer-discovery"},
        "subjects": [{"apiGroup": RBAC, "kind": "Group", "name": "system:unauthenticated"}],
    }


def jwt(issuer: str) -> Object:
    return {
        "issuer": issuer,
        "audiences": [AUDIENCE],
        "jwksUri": "https://kubernetes.default.svc/openid/v1/jwks",
        "algorithms": ["RS256", "ES256"],
        "usernamePrefix": PREFIX,
        "caBundleRef": {"name": "kube-root-ca.crt"},  # which Kubernetes puts into each namespace
    }


@pytest.fixture(scope="module")
def issued(kube: Kube, store: Store, prefix: str) -> Iterator[Issued]:
    case = open_case(kube, store, prefix, "issued")
    issued = Issued(case)
    for name in ("friend", "stranger"):
        case.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    binding = f"issuer-{secrets.token_hex(3)}"
    kube.apply(published(binding))
    issuer = json.loads(kube.kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    friend = {"kind": "User", "name": PREFIX + issued.user("friend")}
    case.serve(security={"authentication": {"mode": "JWT", "jwt": jwt(issuer), "allowedSubjects": [friend]}})
    yield issued
    kube.kubectl("delete", "clusterrolebinding", binding)
    kube.delete("Namespace", case.namespace)


CALLERS: dict[str, tuple[Callable[[Issued], str], str]] = {
    "nobody": (lambda it: "", "unknown"),
    "one with nonsense": (lambda it: "Bearer x", "unknown"),
    "a token for another audience": (lambda it: it.bearer("friend", "modelward.dev"), "unknown"),
    "a token for the API server": (lambda it: it.bearer("friend", ""), "unknown"),
    "one who took the signature off": (lambda it: "Bearer " + unsigned(it.bearer("friend")[7:]), "unknown"),
    "one who put another name in": (
        lambda it: "Bearer " + claiming(it.bearer("stranger")[7:], sub=it.user("friend")),
        "unknown",
    ),
    "one who put more time in": (lambda it: "Bearer " + claiming(it.bearer("friend")[7:], exp=4102444800), "unknown"),
    "a user of the issuer without a grant": (lambda it: it.bearer("stranger"), "forbidden"),
    "a user of the issuer with one": (lambda it: it.bearer("friend"), "answered"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("caller", CALLERS)
def test_whose_token_is_taken(issued: Issued, caller: str, way: str) -> None:
    make, expected = CALLERS[caller]
    assert WAYS[way](issued.case.service_address(), make(issued)) in CODES[expected][way]


def test_an_account_of_the_cluster_is_not_the_issuers_user_of_that_name(issued: Issued) -> None:
    """A right that the ServiceAccount itself has is none of the issuer's user, whose name is another one by the prefix."""
    rule = {"apiGroups": ["modelward.dev"], "resources": ["modeldeployments/predict"], "verbs": ["create"]}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "own"}, "rules": [rule]}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "own"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "own"},
        "subjects": [{"kind": "ServiceAccount", "name": "granted", "namespace": issued.case.namespace}],
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "granted"}}
    issued.case.apply(account, role, binding)
    right = ("create", f"modeldeployments.modelward.dev/{NAME}", "--subresource=predict", "-n", issued.case.namespace)
    who = f"--as={issued.user('granted')}"
    wait("the account itself may", lambda: issued.case.kube.kubectl("auth", "can-i", *right, who), within=15)
    assert over_rest(issued.case.service_address(), issued.bearer("granted")) == "403"
