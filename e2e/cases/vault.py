"""A real Vault for the cases of `SUITE=keys`: sealed and unsealed, with TLS, policies and Kubernetes auth; never in dev mode.

It runs on the node, beside the object store, so that pods reach it by the node's address. Its Kubernetes auth method is a plugin,
because Vault's full build carries every cloud's SDK. The root token sets it up and is revoked before the first case.
"""

import base64
import hashlib
import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from e2e.cases.authority import Authority
from e2e.cases.kube import Kube, wait
from e2e.cluster.binaries import binary

PORT: Final = 8200
AUDIENCE: Final = "vault"
REVIEWER: Final = "vault-reviewer"
KEY: Final = "models"
_PLUGIN: Final = "vault-plugin-auth-kubernetes"
_SEALER: Final = f'path "transit/encrypt/{KEY}" {{ capabilities = ["update"] }}'
_READER: Final = f'path "transit/decrypt/{KEY}" {{ capabilities = ["update"] }}'


@dataclass
class Vault:
    """A running Vault. `sealer_token` may wrap data keys and nothing else, `rewrapper_token` may unwrap them too."""

    address: str
    ca_file: Path
    unseal_key: str = field(default="", repr=False)
    sealer_token: str = field(default="", repr=False)
    rewrapper_token: str = field(default="", repr=False)
    administrator: str = field(default="", repr=False)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    @property
    def kek(self) -> str:
        """What `--kek` says to name the key."""
        return f"vault:{self.address}/transit/{KEY}"

    def environment(self, token: str = "") -> dict[str, str]:
        """What `modelward seal --kek vault:…` reads, as Vault's own command does."""
        return {
            "VAULT_ADDR": self.address,
            "VAULT_CACERT": str(self.ca_file),
            "VAULT_TOKEN": token or self.sealer_token,
        }

    def call(self, method: str, path: str, token: str = "", **body: Any) -> dict[str, Any]:
        """One call of Vault's HTTP API; what it refuses is an error with its words."""
        answer = httpx.request(
            method,
            f"{self.address}/v1/{path}",
            headers={"X-Vault-Token": token} if token else {},
            content=json.dumps(body) if body else None,
            verify=self._trust,
            timeout=20,
            trust_env=False,
        )
        assert answer.is_success, f"vault {method} {path}: {answer.status_code} {answer.text}"
        return dict(answer.json()) if answer.content else {}

    def seal(self) -> None:
        """Close it, as an operator does in an emergency: no key can be used until `unseal`."""
        self.call("PUT", "sys/seal", self.administrator)

    def unseal(self) -> None:
        """Open it again."""
        self.call("PUT", "sys/unseal", key=self.unseal_key)
        wait("vault is unsealed", self.ready, within=30)

    def ready(self) -> bool:
        """Say whether it answers requests."""
        address = f"{self.address}/v1/sys/health"
        return httpx.get(address, verify=self._trust, timeout=5, trust_env=False).status_code == 200

    def rotate(self) -> None:
        """A new version of the key; the old ones still decrypt."""
        self.call("POST", f"transit/keys/{KEY}/rotate", self.administrator)

    def allow(self, namespace: str, account: str) -> None:
        """Let the pods of one service account unwrap data keys."""
        self.call(
            "POST",
            f"auth/kubernetes/role/{role(namespace)}",
            self.administrator,
            bound_service_account_names=[account],
            bound_service_account_namespaces=[namespace],
            audience=AUDIENCE,
            token_policies=["model-reader"],
            token_ttl="10m",
        )

    def forbid(self, namespace: str) -> None:
        """Take that away again."""
        self.call("DELETE", f"auth/kubernetes/role/{role(namespace)}", self.administrator)


def role(namespace: str) -> str:
    """The role of the pods of one namespace."""
    return f"models-of-{namespace}"


@contextmanager
def run(folder: Path, endpoint: str, kube: Kube) -> Iterator[Vault]:
    """Start Vault on the node's address, set it up, and end it."""
    host = str(urlsplit(endpoint).hostname)
    authority = Authority(folder)
    config = _configure(folder, host, authority)
    with (folder / "vault.log").open("w") as log:
        process = subprocess.Popen([str(binary("vault")), "server", f"-config={config}"], stdout=log, stderr=log)
        try:
            yield _set_up(f"https://{host}:{PORT}", authority.file, kube, process)
        finally:
            process.terminate()
            process.wait(20)


def _configure(folder: Path, host: str, authority: Authority) -> Path:
    certificate, key = authority.issue(host)
    plugins = folder / "plugins"
    for made in (plugins, folder / "data"):
        made.mkdir()
    (plugins / _PLUGIN).write_bytes(binary(_PLUGIN).read_bytes())
    (plugins / _PLUGIN).chmod(0o755)
    settings = {
        "storage": {"raft": {"path": str(folder / "data"), "node_id": "one"}},
        "listener": {
            "tcp": {
                "address": f"{host}:{PORT}",
                "cluster_address": f"{host}:{PORT + 1}",
                "tls_cert_file": str(certificate),
                "tls_key_file": str(key),
            },
        },
        "cluster_addr": f"https://{host}:{PORT + 1}",
        "api_addr": f"https://{host}:{PORT}",
        "plugin_directory": str(plugins),
        "disable_mlock": True,
    }
    config = folder / "vault.json"
    config.write_text(json.dumps(settings))
    return config


def _set_up(address: str, ca_file: Path, kube: Kube, process: "subprocess.Popen[bytes]") -> Vault:
    vault = Vault(address, ca_file)

    def listens() -> bool:
        assert process.poll() is None, "vault ended right after its start"
        return bool(vault.call("GET", "sys/init").get("initialized") is False)

    wait("vault listens", listens, within=60)
    made = vault.call("PUT", "sys/init", secret_shares=1, secret_threshold=1)
    vault.unseal_key, root = made["keys"][0], made["root_token"]
    vault.unseal()

    vault.call("POST", "sys/mounts/transit", root, type="transit")
    vault.call("POST", f"transit/keys/{KEY}", root, type="aes256-gcm96")
    for name, policy in {"model-sealer": _SEALER, "model-reader": _READER, "administrator": _ADMINISTRATOR}.items():
        vault.call("PUT", f"sys/policies/acl/{name}", root, policy=policy)
    vault.sealer_token = _token(vault, root, "model-sealer")
    vault.rewrapper_token = _token(vault, root, "model-sealer", "model-reader")
    vault.administrator = _token(vault, root, "administrator")
    _enable_kubernetes(vault, root, kube)
    vault.call("POST", "auth/token/revoke-self", root)
    return vault


_ADMINISTRATOR: Final = "\n".join(
    f'path "{path}" {{ capabilities = [{capabilities}] }}'
    for path, capabilities in {
        "auth/kubernetes/role/*": '"create", "update", "delete"',
        "sys/seal": '"update", "sudo"',
        f"transit/keys/{KEY}/*": '"update"',
    }.items()
)


def _token(vault: Vault, root: str, *policies: str) -> str:
    made = vault.call("POST", "auth/token/create-orphan", root, policies=[*policies], ttl="2h", no_default_policy=True)
    return str(made["auth"]["client_token"])


def _enable_kubernetes(vault: Vault, root: str, kube: Kube) -> None:
    digest = hashlib.sha256(binary(_PLUGIN).read_bytes()).hexdigest()
    vault.call("POST", "sys/plugins/catalog/auth/kubernetes", root, sha256=digest, command=_PLUGIN)
    vault.call("POST", "sys/auth/kubernetes", root, type="kubernetes")
    cluster = json.loads(kube.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))["clusters"][0]
    vault.call(
        "POST",
        "auth/kubernetes/config",
        root,
        kubernetes_host=cluster["cluster"]["server"],
        kubernetes_ca_cert=base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode(),
        token_reviewer_jwt=_reviewer_token(kube),
        disable_local_ca_jwt=True,
    )


def _reviewer_token(kube: Kube) -> str:
    """A token that may ask the API server whose another token is."""
    kube.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": REVIEWER, "namespace": "kube-system"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": REVIEWER},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:auth-delegator",
            },
            "subjects": [{"kind": "ServiceAccount", "name": REVIEWER, "namespace": "kube-system"}],
        },
    )
    return kube.kubectl("create", "token", REVIEWER, "-n", "kube-system", "--duration=2h").strip()
