"""The whole operator as a process, kopf and Lease included, on a real API server."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import (
    BY_KIND,
    LEASE,
    MODEL,
    NAMESPACE,
    POD,
    POLICY,
    SECRET,
)
from modelward_operator.plan.names import ADMIN_PORT, selector
from tests.integration.apiserver import TOKEN, ApiServer
from tests.integration.rest import RBAC, apply
from tests.integration.running import Json, Running, create, exists, run_pod, running, until
from tests.makers import READY_REPORT
from tests.public_keys import ALICE

ROOT = Path(__file__).parents[2]
POD_ADDRESS = "127.77.0.1"  # of the loopback, and nobody else's
SIGNED = {"security": {"verification": {"mode": "Required", "trust": [{"name": "ci", "keyRef": {"name": "ci-pub"}}]}}}


@pytest.fixture
async def operator(server: ApiServer, tmp_path: Path, namespace: str) -> AsyncIterator[Running]:
    async with running(server, tmp_path, namespace) as started:
        yield started


async def test_from_an_event_to_children_and_status_and_a_graceful_end(
    operator: Running, client: Client, namespace: str
) -> None:
    await create(client, namespace, "fraud")
    await until(exists(client, "Deployment", namespace, "fraud"))
    live = await client.get(BY_KIND["Deployment"], namespace, "fraud")
    await client.delete(BY_KIND["Deployment"], namespace, "fraud", uid=live["metadata"]["uid"])
    await until(exists(client, "Deployment", namespace, "fraud"))

    async def told() -> bool:
        status = (await client.get(MODEL, namespace, "fraud")).get("status", {})
        return bool(status.get("conditions"))

    await until(told)
    await _quiet(operator)  # a write is counted when its answer has come, which is after others see it
    assert await operator.http(operator.health, "/healthz") == (200, "ok")
    assert await operator.http(operator.health, "/readyz") == (200, "ok")
    assert await operator.metric("modelward_leader") == 1
    assert await operator.metric('modelward_api_writes_total{kind="Deployment",verb="apply"}') == 2
    assert await operator.stop() == 0
    lease = await client.get(LEASE, namespace, "modelward-operator")
    assert lease["spec"].get("holderIdentity", "") == "", "given back"
    model = await client.get(MODEL, namespace, "fraud")
    assert "finalizers" not in model["metadata"]
    assert "annotations" not in model["metadata"], "kopf writes nothing"
    assert {entry["manager"] for entry in model["metadata"]["managedFields"]} == {"user", "modelward"}


async def test_every_log_line_is_json_and_a_pass_has_one_id(operator: Running, client: Client, namespace: str) -> None:
    await create(client, namespace, "fraud")
    await until(exists(client, "Deployment", namespace, "fraud"))
    await operator.stop()
    lines = operator.lines()
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))
    assert [line for line in lines if line["level"] in {"WARNING", "ERROR"}] == []


async def test_a_restart_writes_nothing(server: ApiServer, tmp_path: Path, client: Client, namespace: str) -> None:
    async with running(server, tmp_path, namespace) as first:
        for number in range(5):
            await create(client, namespace, f"model-{number}")
        for number in range(5):
            await until(exists(client, "Deployment", namespace, f"model-{number}"))
        await _quiet(first)
        assert await first.stop() == 0
    async with running(server, tmp_path, namespace, "two") as second:
        await until(lambda: _at_least(second, "modelward_reconcile_seconds_count", 5))
        await _quiet(second)
        assert await _writes(second) == 0


async def test_the_second_replica_takes_over_at_once_when_the_first_ends(
    server: ApiServer, tmp_path: Path, client: Client, namespace: str
) -> None:
    lasting = {"LEASE_SECONDS": "120"}
    async with running(server, tmp_path, namespace, "one", settings=lasting) as first:
        await until(lambda: _at_least(first, "modelward_leader", 1))
        async with running(server, tmp_path, namespace, "two", settings=lasting) as second:
            await until(lambda: _ready(second))
            await create(client, namespace, "fraud")
            await until(exists(client, "Deployment", namespace, "fraud"))
            assert await second.metric("modelward_leader") == 0
            assert await _writes(second) == 0, "a follower watches and writes nothing"
            await first.stop()
            await create(client, namespace, "later")
            await until(
                exists(client, "Deployment", namespace, "later"), 60
            )  # it does not wait for the lease to run out
            await _quiet(second)
            assert await second.metric('modelward_api_writes_total{kind="Deployment",verb="apply"}') == 1


async def test_a_leader_whose_lease_was_taken_ends(operator: Running, client: Client, namespace: str) -> None:
    await until(lambda: _at_least(operator, "modelward_leader", 1))
    taken = {
        "spec": {"holderIdentity": "somebody"}
    }  # whatever version it has by now: the leader renews it all the time
    await client.patch(LEASE, namespace, "modelward-operator", taken, manager="test")
    async with asyncio.timeout(60):
        assert await operator.process.wait() == 1
    assert "lease" in operator.lines()[-1]["message"]


async def test_the_charts_rights_are_enough(server: ApiServer, tmp_path: Path, client: Client, namespace: str) -> None:
    """With the operator's own service account and the chart's rules, nothing is forbidden: make, repair, prune, tell, lead."""
    kubeconfig = await _with_the_charts_rights(server, tmp_path, client, namespace)
    async with running(server, tmp_path, namespace, kubeconfig=kubeconfig) as operator:
        subjects = [{"kind": "User", "name": "alice"}]
        access = {"authentication": {"allowedSubjects": subjects}, "tls": {"mode": "Managed"}}
        security = {"security": {**SIGNED["security"], **access}}
        await create(client, namespace, "fraud", {"scaling": {"replicas": 2}, **security})
        await until(exists(client, "PodDisruptionBudget", namespace, "fraud"))
        await until(exists(client, "RoleBinding", namespace, "fraud-predict"))
        await client.get(SECRET, namespace, "fraud-tls")
        await until(exists(client, "Deployment", namespace, "fraud"))
        await until(exists(client, "Service", namespace, "fraud"))  # it is made beside the Deployment
        ours = (await client.get(BY_KIND["Service"], namespace, "fraud"))["spec"]["selector"]
        theirs = {"spec": {"selector": {"app": "other"}}}
        await client.patch(BY_KIND["Service"], namespace, "fraud", theirs, manager="somebody")
        await client.patch(MODEL, namespace, "fraud", {"spec": {"scaling": {"replicas": 1}}}, manager="user")

        async def pruned() -> bool:
            return not await exists(client, "PodDisruptionBudget", namespace, "fraud")()

        async def repaired() -> bool:
            live = await client.get(BY_KIND["Service"], namespace, "fraud")
            return bool(live["spec"]["selector"] == ours)

        await until(pruned)
        await until(repaired)
        await _stuck_pod(client, namespace)
        await until(lambda: _at_least(operator, 'modelward_api_requests_total{code="200",kind="Event",verb="list"}', 1))
        await _quiet(operator)
        _, text = await operator.http(operator.metrics, "/metrics")
        assert [line for line in text.splitlines() if 'code="403"' in line] == []
        await operator.stop()
        assert [line for line in operator.lines() if line["level"] in {"WARNING", "ERROR"}] == []


async def test_the_charts_rights_are_enough_for_policies_and_tenants(
    server: ApiServer, tmp_path: Path, client: Client, namespace: str
) -> None:
    """Over the whole cluster: the namespace's tenant, a policy that comes later, the public key that it is about."""
    kubeconfig = await _with_the_charts_rights(server, tmp_path, client, namespace, clusterwide=True)
    label = {"metadata": {"labels": {"modelward.dev/tenant": "risk-eu"}}}
    await client.patch(NAMESPACE, "", namespace, label, manager="admin")
    keys = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ci-pub", "namespace": namespace}}
    await client.create(BY_KIND["ConfigMap"], {**keys, "data": {"public.pem": ALICE}}, manager="user")
    async with running(server, tmp_path, namespace, kubeconfig=kubeconfig, clusterwide=True) as operator:
        await create(client, namespace, "fraud", SIGNED)
        await until(exists(client, "Deployment", namespace, "fraud"))
        boots = [item async for page, _ in client.pages(BY_KIND["ConfigMap"], namespace) for item in page]
        assert any('"tenant":"risk-eu"' in item.get("data", {}).get("boot.json", "") for item in boots)
        policy = {
            "apiVersion": POLICY.api_version,
            "kind": POLICY.kind,
            "metadata": {"name": namespace},
            "spec": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "requireVerification": True,
                "trustedSigners": [f"sha256:{'0' * 64}"],
            },
        }
        made = await client.create(POLICY, policy, manager="admin")

        async def denied() -> bool:
            ready = await _ready_condition(client, namespace)
            return (ready.get("status"), ready.get("reason")) == ("False", "ModelPolicyViolated")

        await until(denied)
        assert (await client.get(BY_KIND["Deployment"], namespace, "fraud"))["spec"]["replicas"] == 0
        await client.delete(POLICY, "", namespace, uid=made["metadata"]["uid"])

        async def serves_again() -> bool:
            return bool((await client.get(BY_KIND["Deployment"], namespace, "fraud"))["spec"]["replicas"] == 1)

        await until(serves_again)
        _, text = await operator.http(operator.metrics, "/metrics")
        assert [line for line in text.splitlines() if 'code="403"' in line] == []


async def _ready_condition(client: Client, namespace: str) -> Json:
    status = (await client.get(MODEL, namespace, "fraud")).get("status", {})
    return next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})


async def _stuck_pod(client: Client, namespace: str) -> None:
    """Make a pod that no kubelet ever takes: it waits in silence, so that its Events are read."""
    meta = {"name": "fraud-x", "namespace": namespace, "labels": selector("fraud")}
    spec = {"containers": [{"name": "runtime", "image": "x"}]}
    await client.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, manager="test")


async def _with_the_charts_rights(
    server: ApiServer, folder: Path, client: Client, namespace: str, *, clusterwide: bool = False
) -> Path:
    """Grant the chart's rules, for the namespace or the cluster, to a service account there, and return its kubeconfig."""
    meta = {"name": "modelward-operator", "namespace": namespace}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
    await client.create(BY_KIND["ServiceAccount"], account, manager="test")
    rendered = yaml.safe_load_all((ROOT / "helm/manifests/modelward.yaml").read_text())
    names = ["modelward-operator", *(f"modelward-operator-{part}" for part in ("lease", "ca", "api-address"))]
    roles = [one for one in rendered if one and one["kind"] in {"ClusterRole", "Role"}]
    for item in (one for one in roles if one["metadata"]["name"] in names):
        scope = "Cluster" if clusterwide and item["kind"] == "ClusterRole" else ""
        place = "default" if item["metadata"].get("namespace") == "default" else namespace
        where = {"name": f"{namespace}-{item['metadata']['name']}", **({} if scope else {"namespace": place})}
        role = {**item, "kind": f"{scope}Role", "metadata": where}
        binding = {
            "apiVersion": f"{RBAC}/v1",
            "kind": f"{scope}RoleBinding",
            "metadata": role["metadata"],
            "roleRef": {"apiGroup": RBAC, "kind": role["kind"], "name": where["name"]},
            "subjects": [{"kind": "ServiceAccount", **meta}],
        }
        for one in (role, binding):
            apply(server, one, dry_run=False)
    _stand_in_for_the_charts_account(server, meta, "Cluster" if clusterwide else "")
    token = await _token(server, namespace)
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = token
    path = folder / "operator.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def _stand_in_for_the_charts_account(server: ApiServer, account: Json, scope: str) -> None:
    """Where another test has put the admission policies in force, they know the chart's account by its name, and others by `relax`."""
    where = {"name": f"stand-in-{account['namespace']}", **({} if scope else {"namespace": account["namespace"]})}
    rules = [{"apiGroups": ["modelward.dev"], "resources": ["modeldeployments"], "verbs": ["relax"]}]
    head = {"apiVersion": f"{RBAC}/v1", "metadata": where}
    kind = f"{scope}Role"
    role = {**head, "kind": kind, "rules": rules}
    ref = {"apiGroup": RBAC, "kind": kind, "name": where["name"]}
    subjects = [{"kind": "ServiceAccount", **account}]
    binding = {**head, "kind": f"{kind}Binding", "roleRef": ref, "subjects": subjects}
    for one in (role, binding):
        apply(server, one, dry_run=False)


async def _token(server: ApiServer, namespace: str) -> str:
    url = f"{server.url}/api/v1/namespaces/{namespace}/serviceaccounts/modelward-operator/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers, ssl=False) as answer:
        return str((await answer.json())["status"]["token"])


@pytest.fixture
async def reporting() -> AsyncIterator[str]:
    """The address of a pod that says it serves, as a hundred pods do; they share it."""
    app = web.Application()
    app.router.add_get("/report", _reported)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, POD_ADDRESS, ADMIN_PORT).start()
    yield POD_ADDRESS
    await runner.cleanup()


async def _reported(_: web.Request) -> web.Response:
    return web.json_response(dict(READY_REPORT))


async def test_a_hundred_models_with_their_pods_fit_in_150_megabytes(
    operator: Running, client: Client, namespace: str, reporting: str
) -> None:
    names = [f"model-{number}" for number in range(100)]
    await asyncio.gather(*(create(client, namespace, name) for name in names))
    await until(lambda: _at_least(operator, 'modelward_api_writes_total{kind="ModelDeployment"', 100), 120)
    await asyncio.gather(*(run_pod(client, namespace, name, reporting) for name in names))

    async def all_serve() -> bool:
        found = [one async for page, _ in client.pages(MODEL, namespace) for one in page]
        return ["Serving"] * len(names) == [_reason(one) for one in found]

    await until(all_serve, 120)
    await _quiet(operator)
    assert operator.peak_memory() < 150 * 2**20


def _reason(model: Json) -> str:
    """Return the reason of Ready, once the report is in the status."""
    status = model.get("status", {})
    ready = (c["reason"] for c in status.get("conditions", ()) if c["type"] == "Ready")
    return next(ready, "") if "digest" in status.get("model", {}) else ""


async def test_wrong_settings_are_all_named(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "modelward_operator.cli", "run",
        env={"PATH": os.environ["PATH"], "WORKERS": "many", "WATCH_NAMESPACES": "A_B"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 2
    for word in ("RUNTIME_IMAGE", "WORKERS", "WATCH_NAMESPACES"):
        assert word in out.decode()


async def _writes(operator: Running) -> float:
    total = await operator.metric("modelward_api_writes_total")
    return total - await operator.metric('modelward_api_writes_total{kind="Lease"')


async def _ready(operator: Running) -> bool:
    try:
        return (await operator.http(operator.health, "/readyz"))[0] == 200
    except aiohttp.ClientError:
        return False


async def _at_least(operator: Running, name: str, value: float) -> bool:
    try:
        return await operator.metric(name) >= value
    except aiohttp.ClientError:
        return False


async def _quiet(operator: Running) -> None:
    """Wait until no pass runs, no key waits for one, and none began for half a second."""
    before = -1.0
    async with asyncio.timeout(60):
        while True:
            now = await operator.metric("modelward_reconcile_seconds_count")
            is_idle = len(operator.taken()) == now and not await operator.metric("modelward_queue_depth")
            if is_idle and now == before:
                return
            before = now
            await asyncio.sleep(0.5)
