"""The whole operator with the chart's own rights at work on every example, what is secret planted in every Secret that they name, and the
search for it. Used by test_nothing_leaks.py and test_nothing_leaks_namespaced.py.
"""

import base64
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.configuration import load_configuration
from modelward_operator.cluster.kinds import CHILDREN, EVENT, LEASE, MODEL, SECRET, Resource
from tests.integration.apiserver import ApiServer
from tests.integration.rest import Json, apply, request
from tests.integration.running import Running, create, running, until

ROOT: Final = Path(__file__).parents[2]
HOME, PLACE = "modelward-system", "planted"
ACCOUNT: Final = f"system:serviceaccount:{HOME}:modelward-operator"
RBAC: Final = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
MARKER: Final = "planted-marker-5e1f"
SECRETS_OF: Final = {
    "secretRef",
    "keyRef",
    "signingKeyRef",
    "hashKeyRef",
    "subjectKeyRef",
    "inputHashKeyRef",
    "secretKeyRef",
}
FILES: Final = sorted([*(ROOT / "crds/examples").glob("*.yaml"), *(ROOT / "tests/golden/manifests").glob("*.yaml")])
USERS_OWN: Final = {"ModelDeployment", "PrivacyPolicy", "CostBudget", "PriceBook"}
MANAGED: Json = {"security": {"tls": {"mode": "Managed"}}, "scaling": {"minReplicas": 0, "maxReplicas": 2}}


@dataclass(frozen=True)
class Seen:
    """An operator that has worked on every example, with what is secret planted in every Secret that they name."""

    server: ApiServer
    client: Client
    operator: Running
    models: tuple[str, ...]

    def audited(self) -> list[Json]:
        """What the operator asked of the API server."""
        whole = self.server.audit_log.read_text().split("\n")[:-1]  # the API server may be writing the last one
        lines = [json.loads(line) for line in whole]
        return [line for line in lines if line["user"]["username"] == ACCOUNT]

    async def audited_writes(self, *ids: str) -> list[Json]:
        """What the API server has noted of these writes; it notes a request after it has answered it."""

        wanted = set(ids)

        async def are_noted() -> bool:
            return wanted <= {line["auditID"] for line in self.audited()}

        await until(are_noted)
        return [line for line in self.audited() if line["auditID"] in wanted]

    def asked_of_secrets(self) -> set[tuple[str, str, str]]:
        """Which verbs it used on which Secrets: verb, namespace and name, which a creation does not have."""
        return {
            (line["verb"], line["objectRef"].get("namespace", ""), line["objectRef"].get("name", ""))
            for line in self.audited()
            if line.get("objectRef", {}).get("resource") == "secrets"
        }

    def check_secrets(self) -> None:
        """See that it makes certificates' Secrets, and reads and writes no others but those of its own CAs."""
        asked = self.asked_of_secrets()
        own = {(verb, HOME, name) for verb in ("get", "update") for name in ("modelward-ca", "modelward-activator-ca")}
        assert {one for one in asked if one[0] != "create"} <= own
        assert ("get", HOME, "modelward-ca") in asked

    async def check_words(self) -> None:
        """See that nothing that it lets anybody see holds what is secret: a private key of its own, or what the users' Secrets hold."""
        keys = await private_keys(self.client)
        assert len(keys) >= 3, "two CAs, one of them twice in its Secret, and a leaf"
        assert [] == await leaks(self, (MARKER, *keys))

    def refused(self) -> list[tuple[str, str]]:
        """What the API server refused it: verb and path."""
        lines = (line for line in self.audited() if line["responseStatus"].get("code") == 403)
        return [(line["verb"], line["requestURI"]) for line in lines]


@asynccontextmanager
async def at_work(server: ApiServer, folder: Path, chart: str, *, clusterwide: bool) -> AsyncIterator[Seen]:
    """An operator with the rights of a rendered chart, once it has told something of every example and issued a certificate."""
    kubeconfig = _install(server, folder, chart)
    for name, keys in _secrets():
        data = {key: f"{MARKER}-{name}-{key}" for key in keys}
        meta = {"name": name, "namespace": PLACE}
        apply(server, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data}, dry_run=False)
    client = Client(await load_configuration({"KUBECONFIG": str(server.kubeconfig)}))
    settings = {"WATCH_NAMESPACES": "" if clusterwide else PLACE}
    try:
        async with running(server, folder, HOME, kubeconfig=kubeconfig, settings=settings) as operator:
            models = tuple(_apply_examples(server))
            await create(client, PLACE, "managed", MANAGED)
            told = [*models, "managed"]
            await until(lambda: _all_told(client, told), 120)
            await until(lambda: _issued(client))
            yield Seen(server, client, operator, models)
    finally:
        await client.close()


def _install(server: ApiServer, folder: Path, chart: str) -> Path:
    """The chart's namespace, account and rights; the account's kubeconfig."""
    for name in (HOME, PLACE):
        apply(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, dry_run=False)
    for item in yaml.safe_load_all(chart):
        if item and (item["kind"] in RBAC or item["kind"] == "ServiceAccount"):
            apply(server, item, dry_run=False)
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    path = f"/api/v1/namespaces/{HOME}/serviceaccounts/modelward-operator/token"
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = request(server, "POST", path, asked)["status"]["token"]
    kubeconfig = folder / "operator.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    return kubeconfig


def _documents() -> Iterator[Json]:
    for file in FILES:
        yield from (document for document in yaml.safe_load_all(file.read_text()) if document)


def _secrets() -> list[tuple[str, set[str]]]:
    """Every Secret that a manifest may mean, with every key that it may be read for."""
    keys: dict[str, set[str]] = {}
    for document in _documents():
        for name, key in _references(document.get("spec", {})):
            keys.setdefault(name, {"AWS_SECRET_ACCESS_KEY", "k1", "tls.key", ".dockerconfigjson"}).add(key)
    return sorted(keys.items())


def _references(value: Any, under: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if under in SECRETS_OF and "name" in value:
            yield value["name"], value.get("key", "key")
        for key, one in value.items():
            yield from _references(one, key)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one, under)


def _apply_examples(server: ApiServer) -> Iterator[str]:
    """Apply what users write, each in one namespace and by a name of its own; the models' names."""
    for number, document in enumerate(_documents()):
        if document["kind"] not in USERS_OWN:
            continue
        if document["kind"] == "ModelDeployment":
            document["metadata"]["name"] = f"{document['metadata']['name'][:40]}-{number}"
        document["metadata"].pop("namespace", None)
        apply(server, document, namespace=PLACE, dry_run=False)
        if document["kind"] == "ModelDeployment":
            yield document["metadata"]["name"]


async def _all_told(client: Client, names: list[str]) -> bool:
    found = {one["metadata"]["name"]: one async for page, _ in client.pages(MODEL, PLACE) for one in page}
    return all(found[name].get("status", {}).get("conditions") for name in names)


async def _issued(client: Client) -> bool:
    return "managed-tls" in {one["metadata"]["name"] async for page, _ in client.pages(SECRET, PLACE) for one in page}


async def _objects(client: Client) -> AsyncIterator[Json]:
    """Everything that the operator writes, but for Secrets, in all namespaces."""
    others = [Resource("CostLedger", "modelward.dev", "v1alpha1", "costledgers"), MODEL, EVENT, LEASE]
    for resource in [*(one for one in CHILDREN if one.kind != "Secret"), *others]:
        async for page, _ in client.pages(resource):
            for one in page:
                yield one


async def spoken(seen: Seen) -> dict[str, str]:
    """All that the operator lets anybody see, by where."""
    _, metrics = await seen.operator.http(seen.operator.metrics, "/metrics")
    found = {"log": seen.operator.log.read_text(), "metrics": metrics}
    async for one in _objects(seen.client):
        found[f"{one['kind']} {one['metadata'].get('namespace')}/{one['metadata']['name']}"] = json.dumps(one)
    return found


async def leaks(seen: Seen, secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Where a secret stands that must not, and in which form."""
    texts = await spoken(seen)
    wanted = [form for secret in secrets for form in forms(secret)]
    return [(where, secret) for where, text in texts.items() for secret in wanted if secret in text]


def forms(secret: str) -> tuple[str, str]:
    """As it is and in base64, where it would begin at a third byte's edge, as in a Secret's data."""
    return secret, base64.b64encode(secret.encode()).decode().rstrip("=")[:-2]


async def private_keys(client: Client) -> list[str]:
    """A line from the middle of each private key that the operator made."""
    lines = []
    for namespace in (HOME, PLACE):
        async for page, _ in client.pages(SECRET, namespace):
            values = [base64.b64decode(value).decode() for one in page for value in (one.get("data") or {}).values()]
            lines += [value.splitlines()[1] for value in values if "PRIVATE KEY" in value]
    return lines


def memory_of(pid: int) -> bytes:
    """All that a process of ours has written to its memory."""
    found = bytearray()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            begin, end = (int(edge, 16) for edge in span.split("-"))
            try:
                memory.seek(begin)
                found += memory.read(end - begin)
            except OSError:  # of the kernel, as [vvar]
                continue
    return bytes(found)
