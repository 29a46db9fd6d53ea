"""What GitOps tools do, on a real API server beside a real operator: apply again and again, compare, wait, prune by labels.

Flux itself: `make e2e SUITE=gitops`. Health in Argo CD's words: test_argocd_health.py.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
import yaml

from e2e.cluster.binaries import binary
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.configuration import load_configuration
from modelward_operator.cluster.kinds import MODEL
from tests.integration.apiserver import ApiServer
from tests.integration.rest import Json, apply, request
from tests.integration.running import create, exists, running, until
from tests.lua import health
from tests.pages import blocks

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "crds" / "examples"
SCRIPTS: Final = ROOT / "operator" / "gitops" / "argocd" / "modelward.dev"
OF_USERS: Final = {"ModelDeployment", "PrivacyPolicy", "CostBudget", "PriceBook", "ModelPolicy"}
PLACE: Final = "shipped"
ARGO: Final = "argocd-controller"
TRACKED: Final = {
    "labels": {"app.kubernetes.io/instance": "models", "kustomize.toolkit.fluxcd.io/name": "models"},
    "annotations": {"argocd.argoproj.io/tracking-id": "models:modelward.dev/ModelDeployment:shipped/tracked"},
}


def manifests() -> Iterator[Json]:
    """Every example that a user would commit; of those of one name the first."""
    seen = set()
    for file in sorted(EXAMPLES.glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            key = (document["kind"], document["metadata"]["name"])
            if document["kind"] in OF_USERS and key not in seen:
                seen.add(key)
                yield document


def kubectl(server: ApiServer, *arguments: str, given: str = "", ok: tuple[int, ...] = (0,)) -> str:
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "KUBECACHEDIR": str(server.folder / "cache")}
    command = [str(binary("kubectl")), f"--namespace={PLACE}", *arguments]
    done = subprocess.run(
        command, env=environment, input=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in ok, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as it would lie in a repository."""
    folder = tmp_path_factory.mktemp("committed")
    for number, one in enumerate(manifests()):
        one["metadata"].pop("namespace", None)
        (folder / f"{number:03}.yaml").write_text(yaml.safe_dump(one, sort_keys=False))
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shipped(
    server: ApiServer, committed: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[ApiServer, Client]]:
    """All of it applied by `kubectl apply`, and told by the operator."""
    for name in ("home", PLACE):
        apply(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, dry_run=False)
    client = Client(await load_configuration({"KUBECONFIG": str(server.kubeconfig)}))
    try:
        async with running(server, tmp_path_factory.mktemp("operator"), "home", clusterwide=True):
            kubectl(server, "apply", f"--filename={committed}")
            await until(lambda: _told(client), 240)
            await until(lambda: _rests(server), 60)
            yield server, client
    finally:
        await client.close()


async def _told(client: Client) -> bool:
    found = [one async for page, _ in client.pages(MODEL, PLACE) for one in page]
    return bool(found) and all(one["status"]["observedGeneration"] == one["metadata"]["generation"] for one in found)


async def _rests(server: ApiServer) -> bool:
    """Nothing moves for a second: a status that is told between the two looks of `kubectl diff` would be a difference."""
    before = live(server)
    await asyncio.sleep(1)
    return before == live(server)


def live(server: ApiServer) -> dict[tuple[str, str], Json]:
    """What the API server holds of what is committed."""
    kinds = ",".join(sorted(f"{kind.lower()}s.modelward.dev" for kind in OF_USERS)).replace("policys", "policies")
    items = json.loads(kubectl(server, "get", kinds, "--output=json", "--show-managed-fields"))["items"]
    return {(one["kind"], one["metadata"]["name"]): one for one in items}


def specs(server: ApiServer) -> dict[tuple[str, str], tuple[str, str]]:
    """Generation and spec of each: statuses move by themselves."""
    return {key: (one["metadata"]["generation"], json.dumps(one["spec"])) for key, one in live(server).items()}


@pytest.mark.asyncio(loop_scope="module")
async def test_kubectl_diff_is_empty_after_apply(shipped: tuple[ApiServer, Client], committed: Path) -> None:
    server, _ = shipped
    assert "" == kubectl(server, "diff", f"--filename={committed}")
    changed = (committed / "000.yaml").read_text().replace("kind: ModelDeployment", "kind: ModelDeployment", 1)
    other = yaml.safe_load(changed) | {
        "metadata": {"name": yaml.safe_load(changed)["metadata"]["name"], "labels": {"a": "b"}}
    }
    assert "+    a: b" in kubectl(server, "diff", "--filename=-", given=yaml.safe_dump(other), ok=(1,)), "the control"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_second_apply_changes_nothing(shipped: tuple[ApiServer, Client], committed: Path) -> None:
    server, _ = shipped
    before = specs(server)
    said = kubectl(server, "apply", f"--filename={committed}").splitlines()
    assert [] == [line for line in said if not line.endswith(" unchanged")]
    assert before == specs(server)


@pytest.mark.asyncio(loop_scope="module")
async def test_argo_cds_server_side_diff_finds_nothing(shipped: tuple[ApiServer, Client], committed: Path) -> None:
    """Argo CD applies as a dry run by its own manager and compares what would be with what is, but for managedFields."""
    server, _ = shipped
    arguments = ("--server-side", f"--field-manager={ARGO}", "--force-conflicts", f"--filename={committed}")
    kubectl(server, "apply", *arguments)
    before = live(server)
    would = kubectl(server, "apply", *arguments, "--dry-run=server", "--output=json")
    predicted = {(one["kind"], one["metadata"]["name"]): one for one in json.loads(would)["items"]}
    assert predicted.keys() == before.keys()
    assert [] == [key for key in predicted if _normal(predicted[key]) != _normal(before[key])]
    moved = {**yaml.safe_load((committed / "000.yaml").read_text())}
    moved["spec"] = {**moved["spec"], "suspend": not moved["spec"].get("suspend", False)}
    text = kubectl(
        server,
        "apply",
        *arguments[:3],
        "--filename=-",
        "--dry-run=server",
        "--output=json",
        given=yaml.safe_dump(moved),
    )
    other = json.loads(text)
    assert _normal(other) != _normal(before[other["kind"], other["metadata"]["name"]]), "the control"


def _normal(one: Json) -> Json:
    """As Argo CD normalises: what only says who wrote is left out. A status may have moved between the two looks."""
    kept = {name: value for name, value in one["metadata"].items() if name not in {"managedFields", "resourceVersion"}}
    return {**{name: value for name, value in one.items() if name != "status"}, "metadata": kept}


@pytest.mark.asyncio(loop_scope="module")
async def test_children_do_not_carry_what_a_gitops_tool_prunes_by(shipped: tuple[ApiServer, Client]) -> None:
    """A child with the tool's label would be taken for something that is not in the repository any more, and deleted."""
    server, client = shipped
    meta = {"name": "tracked", "namespace": PLACE, **TRACKED}
    body = {
        "apiVersion": MODEL.api_version,
        "kind": MODEL.kind,
        "metadata": meta,
        "spec": {"model": {"uri": "s3://m/x/"}},
    }
    await client.create(MODEL, body, manager="test")
    for kind in ("Deployment", "Service"):  # the one is made beside the other
        await until(exists(client, kind, PLACE, "tracked"))
    kinds = "deployments,services,configmaps,serviceaccounts,networkpolicies,roles,rolebindings"
    children = json.loads(kubectl(server, "get", kinds, "--selector=modelward.dev/model=tracked", "--output=json"))[
        "items"
    ]
    assert len(children) >= 6
    for child in children:
        text = json.dumps(child)
        assert not [word for words in TRACKED.values() for pair in words.items() for word in pair if word in text], (
            child
        )
    found = kubectl(server, "get", kinds, "--selector=app.kubernetes.io/instance=models", "--output=name")
    assert "" == found


@pytest.mark.asyncio(loop_scope="module")
async def test_what_nobody_has_looked_at_is_on_the_way_for_argo_cd(
    shipped: tuple[ApiServer, Client], tmp_path: Path
) -> None:
    """A namespace that no operator serves, or the moment before it does."""
    server, _ = shipped
    for kind in ("ModelDeployment", "CostBudget"):
        file = next(one for one in manifests() if one["kind"] == kind)
        unseen = apply(server, {**file, "metadata": {"name": "unseen", "namespace": PLACE}})
        assert {"observedGeneration": -1} == unseen["status"]
        shown = health(SCRIPTS / kind / "health.lua", unseen, tmp_path)
        assert ("Progressing", "waiting for the operator") == shown


@pytest.mark.asyncio(loop_scope="module")
async def test_kubectl_wait_returns_when_the_pods_are_gone_from_the_way(shipped: tuple[ApiServer, Client]) -> None:
    """To zero on purpose is Ready, and `kubectl wait` sees it; a model that is not is waited for in vain."""
    server, client = shipped
    await create(client, PLACE, "at-zero", {"scaling": {"autoscaler": "None", "replicas": 0}})
    ready = ("wait", "--for=condition=Ready", "--timeout=50s")
    assert "condition met" in kubectl(server, *ready, "mdep/at-zero")
    await create(client, PLACE, "wrong", {"model": {"uri": "s3://models/fraud/7/"}, "suspend": True})
    assert "condition met" in kubectl(server, "wait", "--for=condition=Ready=False", "--timeout=50s", "mdep/wrong")
    kubectl(server, "wait", "--for=condition=Ready", "--timeout=1s", "mdep/wrong", ok=(1,))


@pytest.mark.asyncio(loop_scope="module")
async def test_the_page_puts_the_scripts_where_argo_cd_looks(shipped: tuple[ApiServer, Client]) -> None:
    server, _ = shipped
    apply(server, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}}, dry_run=False)
    meta = {"name": "argocd-cm", "namespace": "argocd"}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"url": "https://argo.example"}}
    apply(server, body, dry_run=False)
    (block,) = [block for block in blocks("operator/tasks/gitops.md") if block.heading == "Argo CD"]
    tools = f"{binary('kubectl').parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": tools, "KUBECONFIG": str(server.kubeconfig)}
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    data = request(server, "GET", "/api/v1/namespaces/argocd/configmaps/argocd-cm")["data"]
    assert data.pop("url") == "https://argo.example", "what was there stays"
    scripts = {
        f"resource.customizations.health.modelward.dev_{one.name}": one / "health.lua" for one in SCRIPTS.iterdir()
    }
    assert {key: script.read_text() for key, script in scripts.items()} == data
