"""`kubectl modelward` through the real kubectl on a real API server: what it reads, what it patches, and whose rights it takes."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.binaries import binary
from modelward_operator.cluster.client import Client
from modelward_operator.cluster.kinds import BY_KIND, DEPLOYMENT, LEASE, MODEL, POD, Resource
from modelward_operator.plan.names import selector
from modelward_operator.plugin import revisions_cli
from modelward_operator.plugin.cli import main
from modelward_operator.plugin.rollback import way_back
from tests.integration.apiserver import ApiServer
from tests.integration.guard import allow, until_refused
from tests.integration.histories import DIGESTS, Model
from tests.integration.rest import apply, request
from tests.integration.rig import INSTALLATION, Rig, make_rig
from tests.integration.rights import MANIFESTS, RBAC
from tests.onnx_models import linear, save
from tests.processes import run as run_process
from tests.until import PATIENCE

Json = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
PAGES = Path(__file__).parents[2] / "operator" / "tasks"
VAP = "ValidatingAdmissionPolicy"
ADMISSION = {VAP, f"{VAP}Binding"}


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.out)
        return found


Run = Callable[..., Coroutine[Any, Any, Said]]


@pytest.fixture(scope="module")
def installed(server: ApiServer) -> ApiServer:
    """The server with the chart, but for the CRDs, which it has. No controller makes pods of it."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": INSTALLATION.namespace}}
    apply(server, body, dry_run=False)
    for item in yaml.safe_load_all(MANIFESTS.read_text()):
        if item and item["kind"] in RBAC | ADMISSION | {"ServiceAccount", "Deployment"}:
            apply(server, item, dry_run=False)
    # The API server hears of the policies, and of their parameters, in its own time: one that forbids tells when it has.
    meta = {"apiVersion": MODEL.api_version, "metadata": {"name": "heard"}}
    model = {**meta, "kind": MODEL.kind, "spec": {"model": {"uri": "s3://models/fraud/1/"}}}
    selected = {"matchLabels": {"kubernetes.io/metadata.name": "default"}}
    policy = {**meta, "kind": "ModelPolicy", "spec": {"namespaceSelector": selected, "requireVerification": True}}
    apply(server, policy, dry_run=False)
    until_refused(lambda: apply(server, model), "ModelPolicy heard")
    request(server, "DELETE", "/apis/modelward.dev/v1alpha1/modelpolicies/heard")
    return server


@pytest.fixture
def run(server: ApiServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the plugin as this server's administrator."""
    monkeypatch.setenv("PATH", f"{binary('kubectl').parent}:{os.environ['PATH']}")

    async def asked(*arguments: str) -> Said:
        status = await asyncio.to_thread(main, ["--kubeconfig", str(server.kubeconfig), *arguments])
        printed = capsys.readouterr()
        return Said(status, printed.out, printed.err)

    return asked


@pytest.fixture
async def served(installed: ApiServer, client: Client, namespace: str) -> AsyncIterator[Model]:
    """A model that has served three versions, the last with another caller."""
    async with make_rig(client, namespace) as rig:
        await rig.create({"model": {"uri": "s3://models/fraud/1/", "version": "1"}})
        await rig.reconcile()
        model = Model(rig)
        await model.serve(DIGESTS[1])
        await model.change("s3://models/fraud/2/", cause="retrained")
        await model.serve(DIGESTS[2])
        subjects = [{"kind": "User", "name": "oidc:alice"}]
        await rig.change({"scaling": {"replicas": 3}, "security": {"authentication": {"allowedSubjects": subjects}}})
        await rig.reconcile()
        await model.serve(DIGESTS[2])
        yield model


async def spec_of(rig: Rig) -> Json:
    found: Json = (await rig.get(MODEL.kind))["spec"]
    return found


async def test_history_tells_what_served_and_rollback_brings_it_back(served: Model, run: Run) -> None:
    rig, where = served.rig, ("-n", served.rig.namespace)
    told = (await run("history", "fraud", *where, "-o", "json")).json
    assert [(1, DIGESTS[1]), (2, DIGESTS[2]), (3, DIGESTS[2])] == [
        (one["revision"], one["digest"]) for one in told["revisions"]
    ]
    assert (3, True) == (told["serving"], told["present"]["served"])
    assert ["security.authentication.allowedSubjects"] == told["revisions"][2]["changed"]
    assert "retrained" in (await run("history", "fraud", *where)).out

    before = await spec_of(rig)
    dry = await run("rollback", "fraud", *where, "--dry-run")
    assert (0, True) == (dry.status, "would take" in dry.out)
    assert before == await spec_of(rig)

    done = await run(*where, "rollback", "fraud", "--cause", "it was better", "-o", "json")
    assert (0, 1, True) == (done.status, done.json["to"], done.json["applied"]), (
        "the last one that served something else"
    )
    after = await spec_of(rig)
    assert {"uri": "s3://models/fraud/1/", "version": "1", "digest": DIGESTS[1]} == after["model"]
    assert before["scaling"] == after["scaling"]
    assert before["security"] == after["security"]
    live = await rig.get(MODEL.kind)
    assert "it was better" == live["metadata"]["annotations"]["kubernetes.io/change-cause"]
    managers = {entry["manager"] for entry in live["metadata"]["managedFields"]}
    assert "kubectl-modelward" in managers

    await rig.heard(MODEL.kind, "fraud", int(live["metadata"]["resourceVersion"]))
    await rig.reconcile()
    assert 4 == (await served.serve(DIGESTS[1]))["number"], "the way back is a revision of its own"
    again = await run("rollback", "fraud", *where, "--to", "4")
    assert (0, True) == (again.status, "nothing to change" in again.out)


async def test_a_revision_that_is_not_there_and_a_model_that_is_not_there_are_said(served: Model, run: Run) -> None:
    where = ("-n", served.rig.namespace)
    for command in (("rollback", "fraud", "--to", "9"), ("history", "fraud", "--revision", "9")):
        said = await run(*command, *where)
        assert (2, True) == (said.status, "there is no revision 9; kept are: 1, 2, 3" in said.err)
    for name in ("history", "status", "rollback", "evidence"):
        said = await run(name, "nobody", *where)
        assert (2, True) == (said.status, "not found" in said.err), name


async def test_what_changed_meanwhile_is_not_overwritten(
    served: Model, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the patch somebody else edits: the patch is bound to the version that was read."""
    rig = served.rig

    def late(model: Json, *arguments: Any, **options: Any) -> Any:
        return way_back({**model, "metadata": {**model["metadata"], "resourceVersion": "1"}}, *arguments, **options)

    monkeypatch.setattr(revisions_cli, "way_back", late)
    before = await spec_of(rig)
    said = await run("rollback", "fraud", "-n", rig.namespace)
    assert 2 == said.status
    assert "the object has been modified" in said.err
    assert before == await spec_of(rig)


async def test_what_gitops_owns_is_left_alone_unless_forced(served: Model, run: Run) -> None:
    rig = served.rig
    marks = {"kustomize.toolkit.fluxcd.io/name": "models", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
    await rig.admin.patch(MODEL, rig.namespace, "fraud", {"metadata": {"labels": marks}}, manager="flux")
    before = await spec_of(rig)
    said = await run("rollback", "fraud", "-n", rig.namespace)
    assert 1 == said.status
    assert "owned by Flux (kustomization models -n flux-system)" in said.out
    assert "uri: s3://models/fraud/1/" in said.out, "what to put into the source"
    assert before == await spec_of(rig)
    forced = await run("rollback", "fraud", "-n", rig.namespace, "--force")
    assert (0, True) == (forced.status, "or it comes undone" in forced.err)
    assert before != await spec_of(rig)


async def test_a_rollback_is_the_persons_own_edit(served: Model, installed: ApiServer, run: Run) -> None:
    """By the person's rights: who may patch needs no `relax`, because protection stays; who may only look patches nothing."""
    rig, where = served.rig, ("-n", served.rig.namespace)
    await rig.change({"privacy": {"policyRef": {"name": "strict"}}})
    looks = [
        {"apiGroups": ["modelward.dev"], "resources": ["modeldeployments"], "verbs": ["get"]},
        {"apiGroups": ["apps"], "resources": ["controllerrevisions"], "verbs": ["list"]},
    ]
    allow(installed, "looker", *looks)
    allow(
        installed,
        "editor",
        *looks,
        {"apiGroups": ["modelward.dev"], "resources": ["modeldeployments"], "verbs": ["patch"]},
    )
    looked = await run("--as", "looker", "history", "fraud", *where)
    assert 0 == looked.status, looked.err
    refused = await run("--as", "looker", "rollback", "fraud", *where)
    assert (2, True) == (refused.status, "cannot patch" in refused.err), refused.err
    done = await run("--as", "editor", "rollback", "fraud", *where)
    assert 0 == done.status, done.err
    spec = await spec_of(rig)
    assert ("strict", "s3://models/fraud/1/") == (spec["privacy"]["policyRef"]["name"], spec["model"]["uri"])


async def test_an_old_model_is_held_to_todays_policies(served: Model, installed: ApiServer, run: Run) -> None:
    where = served.rig.namespace
    selected = {"matchLabels": {"kubernetes.io/metadata.name": where}}
    policy = {"namespaceSelector": selected, "allowedUriPrefixes": ["s3://models/fraud/2/"]}
    kind = {"apiVersion": MODEL.api_version, "kind": "ModelPolicy", "metadata": {"name": f"floor-{where}"}}
    apply(installed, {**kind, "spec": policy}, dry_run=False)
    async with asyncio.timeout(PATIENCE):
        while (said := await run("rollback", "fraud", "-n", where, "--dry-run")).status == 0:  # noqa: ASYNC110  -- nothing tells
            await asyncio.sleep(0.2)
    assert 2 == said.status
    assert f"ModelPolicy floor-{where}" in said.err
    refused = await run("rollback", "fraud", "-n", where)
    assert (2, True) == (refused.status, f"floor-{where}: spec.model.uri must begin with" in refused.err), refused.err
    assert "s3://models/fraud/2/" == (await spec_of(served.rig))["model"]["uri"]


async def test_status_tells_the_chain_and_its_exit_status_whether_the_spec_is_served(
    client: Client, namespace: str, run: Run
) -> None:
    async with make_rig(client, namespace) as rig:
        await rig.create()
        unseen = await run("status", "fraud", "-n", namespace)
        assert (1, True) == (unseen.status, "has said nothing about it yet" in unseen.out)
        await rig.reconcile()
        waiting = (await run("status", "fraud", "-n", namespace, "-o", "json")).json
        assert "Unknown" == waiting["ready"]
        assert "kubectl describe pods" in waiting["conditions"][-1]["next"]
        await Model(rig).serve(DIGESTS[0])
        well = await run("status", "fraud", "-n", namespace)
        assert 0 == well.status, well.out
        assert f"serves      {DIGESTS[0]}, version 7, revision 1" in well.out


async def test_predict_asks_the_real_serving_process(
    client: Client,
    namespace: str,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There is no kubelet here to forward a port through, so that a script leads there."""
    spec = {"model": {"uri": "s3://m/1/", "name": "linear"}, "security": {"authentication": {"mode": "None"}}}
    async with make_rig(client, namespace) as rig:
        await rig.create(spec)
    closed = await run("predict", "fraud", "-n", namespace, "--describe")
    assert (2, True) == (closed.status, "no pod of it takes requests" in closed.err)
    meta = {"name": "fraud-a", "namespace": namespace, "labels": selector("fraud")}
    pod = {"automountServiceAccountToken": False, "containers": [{"name": "runtime", "image": "i"}]}
    await client.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": pod}, manager="test")
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await client.patch(POD, namespace, "fraud-a", {"status": status}, manager="test", subresource="status")
    file = save(linear(), tmp_path / "m/model.onnx")
    asked = tmp_path / "request.json"
    with run_process(tmp_path / "p", {"directory": str(file.parent), "name": "linear"}) as process:
        await asyncio.to_thread(process.until_ready)
        lead(process.ports[0], tmp_path, monkeypatch)
        described = (await run("predict", "fraud", "-n", namespace, "--describe")).json
        (tensor,) = described["inputs"]
        sizes = [size if size > 0 else 1 for size in tensor["shape"]]
        count = 1
        for size in sizes:
            count *= size
        inputs = [{"name": tensor["name"], "datatype": tensor["datatype"], "shape": sizes, "data": [0.5] * count}]
        asked.write_text(json.dumps({"inputs": inputs}))
        answered = await run("predict", "fraud", "-n", namespace, "-f", str(asked))
        assert 0 == answered.status, answered.err
        assert "linear" == answered.json["model_name"]
        lines = await run("predict", "fraud", "-n", namespace, "-f", str(asked), "-o", "text")
        assert lines.out.startswith(f"outputs {answered.json['outputs'][0]['name']}")
        asked.write_text(json.dumps({"inputs": []}))
        refused = await run("predict", "fraud", "-n", namespace, "-f", str(asked))
        assert (1, "") == (refused.status, refused.out)
        assert refused.err.startswith("400: ")
        assert "--describe" in refused.err
        asked.write_text("{no json")
        assert "is not JSON" in (await run("predict", "fraud", "-n", namespace, "-f", str(asked))).err
    lost = await run("predict", "fraud", "-n", namespace, "--describe")
    assert (2, True) == (lost.status, "the connection broke" in lost.err)


def lead(port: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a kubectl on the path that forwards to a port of this machine, and is the real one for all else."""
    forward = (
        f'case " $* " in *" port-forward "*) echo "Forwarding from 127.0.0.1:{port} -> 8080"; exec sleep 60;; esac'
    )
    script = folder / "bin" / "kubectl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\n{forward}\nexec {binary("kubectl")} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


async def test_doctor_sees_an_installation_that_does_not_run_and_one_that_does(
    installed: ApiServer, client: Client, namespace: str, run: Run
) -> None:
    ill = {one["check"]: one for one in (await run("doctor", "-o", "json")).json["checks"]}
    assert ("ok", "ok", "failed", "failed") == tuple(
        ill[name]["result"] for name in ("Kubernetes", "CRDs", "Operator", "Leader")
    )
    assert "ok" == ill["Rights"]["result"], ill["Rights"]["message"]
    assert "ok" == ill["Admission"]["result"], ill["Admission"]["message"]

    home = INSTALLATION.namespace
    for name in ("modelward-operator", "modelward-activator"):
        status = {"replicas": 2, "readyReplicas": 2}
        await client.patch(DEPLOYMENT, home, name, {"status": status}, manager="test", subresource="status")
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    spec = {"holderIdentity": "modelward-operator-x", "renewTime": now, "leaseDurationSeconds": 3600}
    meta = {"name": "modelward-operator", "namespace": home}
    await client.create(
        LEASE, {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": meta, "spec": spec}, manager="t"
    )
    said = await run("doctor")
    assert 0 == said.status, said.out
    assert "modelward-operator-x leads" in said.out

    role = Resource("ClusterRole", GROUP, "v1", "clusterroles")
    rules = {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}
    await client.patch(role, "", "modelward-operator", rules, manager="somebody")
    async with asyncio.timeout(PATIENCE):
        while (said := await run("doctor", "-o", "json")).status == 0:  # noqa: ASYNC110  -- RBAC is read from watches
            await asyncio.sleep(0.3)
    rights = next(one for one in said.json["checks"] if one["check"] == "Rights")
    assert "the operator may not" in rights["message"]


async def test_who_may_see_nothing_is_told_so_and_not_that_all_is_well(installed: ApiServer, run: Run) -> None:
    said = await run("doctor", "--as", "nobody", "-o", "json")
    results = {one["check"]: one["result"] for one in said.json["checks"]}
    assert {"unknown"} == {results[name] for name in ("CRDs", "Operator", "Leader", "Admission", "Models", "Watches")}


@pytest.mark.parametrize("page", ["update.md"])
def test_the_manifests_of_the_pages_are_taken(page: str, dry_run: Callable[[Json], str]) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", (PAGES / page).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        for document in yaml.safe_load_all(block):
            document["metadata"].pop("namespace", None)
            assert document["kind"] in BY_KIND
            assert "" == dry_run({**document, "metadata": {**document["metadata"], "namespace": "default"}})
