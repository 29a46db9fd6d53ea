"""Who takes part in the tests of access: a model with its pod's account, callers with and without the right, on a real API server.

namespace of the model   serving pod (`pod`), role `predict` for `caller` and for the user `oidc:ada` and the group `oidc:risk`
namespace of the callers `caller` may, `stranger` may not, `other` may predict with another model, `elsewhere` with the same name in
                         another namespace
"""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.integration.apiserver import ApiServer
from tests.integration.rest import RBAC, apply, request
from tests.tokens import Mint

AUDIENCE = "modelward.dev"
MODEL = "fraud"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Cast:
    """The names, and where the pod finds its own token."""

    server: ApiServer
    risk: str  # the model's namespace
    shop: str  # the callers'
    folder: Path

    def authentication(self, **more: Any) -> dict[str, Any]:
        """The part of boot.json that both modes share."""
        files = {"tokenFile": str(self.folder / "token"), "caFile": str(self.folder / "ca.crt")}
        return {"server": self.server.url, **files, **more}

    def access(self, authentication: dict[str, Any], **more: Any) -> dict[str, Any]:
        """The field `access` of boot.json."""
        return {
            "authentication": authentication,
            "authorization": {"namespace": self.risk, "name": MODEL},
            **more,
        }

    def token(self, account: str, *, audience: str = AUDIENCE, namespace: str = "") -> str:
        """A new token of a service account."""
        path = f"/api/v1/namespaces/{namespace or self.shop}/serviceaccounts/{account}/token"
        spec = {"audiences": [audience], "expirationSeconds": 600}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(request(self.server, "POST", path, body)["status"]["token"])

    def mint(self) -> Mint:
        """Makes tokens of `caller` with the API server's own key."""
        key = load_pem_private_key((self.server.folder / "service-account.key").read_bytes(), None)
        assert isinstance(key, RSAPrivateKey)
        return Mint.like(self.token("caller"), key)

    def renew_own_token(self) -> None:
        """Do what the kubelet does for the pod."""
        token = self.token("pod", audience="https://kubernetes.default.svc", namespace=self.risk)
        (self.folder / "token.new").write_text(token)
        (self.folder / "token.new").rename(self.folder / "token")

    def grant(self, name: str, model: str, subject: dict[str, str], namespace: str = "") -> None:
        """Let a subject predict with a model."""
        rule = {"apiGroups": [AUDIENCE], "resources": ["modeldeployments/predict"], "resourceNames": [model]}
        self._role(name, [{**rule, "verbs": ["create"]}], subject, namespace or self.risk)

    def _role(self, name: str, rules: list[dict[str, Any]], subject: dict[str, str], namespace: str) -> None:
        for item in _roles("", name, rules, subject):
            apply(self.server, item, namespace=namespace, dry_run=False)

    def delete_account(self, name: str) -> None:
        """Delete a caller's service account."""
        request(self.server, "DELETE", f"/api/v1/namespaces/{self.shop}/serviceaccounts/{name}")

    def make_account(self, name: str, namespace: str = "") -> dict[str, str]:
        """A service account, as RBAC spells it."""
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        apply(self.server, account, namespace=namespace or self.shop, dry_run=False)
        return {"kind": "ServiceAccount", "name": name, "namespace": namespace or self.shop}


def assemble(server: ApiServer, folder: Path) -> Cast:
    """All of them, with a pod that may ask for reviews and nothing else."""
    number = next(_numbers)
    cast = Cast(server, f"risk-{number}", f"shop-{number}", folder)
    for namespace in (cast.risk, cast.shop):
        apply(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, dry_run=False)
    pod = cast.make_account("pod", cast.risk)
    reviews = [{"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}]
    for item in _roles("Cluster", f"reviews-{number}", reviews, pod):
        apply(server, item, dry_run=False)
    local = {"apiGroups": ["authorization.k8s.io"], "resources": ["localsubjectaccessreviews"], "verbs": ["create"]}
    cast._role("reviews", [local], pod, cast.risk)
    cast.grant("predict", MODEL, cast.make_account("caller"))
    cast.grant("ada", MODEL, {"kind": "User", "name": "oidc:ada", "apiGroup": RBAC})
    cast.grant("team", MODEL, {"kind": "Group", "name": "oidc:risk", "apiGroup": RBAC})
    cast.make_account("stranger")
    cast.grant("other", "another-model", cast.make_account("other"))
    cast.grant("elsewhere", MODEL, cast.make_account("elsewhere"), cast.shop)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ca.crt").write_bytes((server.folder / "certificates/apiserver.crt").read_bytes())
    cast.renew_own_token()
    return cast


def _roles(scope: str, name: str, rules: list[dict[str, Any]], subject: dict[str, str]) -> tuple[dict[str, Any], ...]:
    meta = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": name}}
    role = {"apiGroup": RBAC, "kind": f"{scope}Role", "name": name}
    return (
        {**meta, "kind": f"{scope}Role", "rules": rules},
        {**meta, "kind": f"{scope}RoleBinding", "roleRef": role, "subjects": [subject]},
    )
