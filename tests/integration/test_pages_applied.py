"""Every manifest that our pages and examples show is taken as it stands, and stays as it was applied.

A reader applies it with kubectl, the operator makes its pass, and `kubectl diff` finds nothing: what a GitOps tool would fight about is
found here. Values of the chart are rendered.
"""

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster.binaries import binary, module_source
from helm.render import template
from modelward_operator.cluster.client import Client
from tests.integration.apiserver import ApiServer
from tests.integration.rest import OF_THE_CLUSTER, apply
from tests.integration.rig import make_rig
from tests.pages import ROOT, Manifest, manifests, task_pages

Json = dict[str, Any]

PAGES = ["README.md", *task_pages()]
EXAMPLES = sorted([*(ROOT / "crds" / "examples").glob("*.yaml"), *(ROOT / "operator" / "examples").rglob("*.yaml")])
FAULTS = {"InvalidSpec", "PrivacyPolicyInvalid", "ModelPolicyInvalid", "ChildRejected", "ChildNotOwned"}


class Reader:
    """Somebody with kubectl, in a namespace of their own; the namespaces that manifests name become theirs."""

    def __init__(self, server: ApiServer, folder: Path, namespace: str) -> None:
        self._server, self._namespace = server, namespace
        config = yaml.safe_load(server.kubeconfig.read_text())
        config["contexts"][0]["context"]["namespace"] = namespace
        self._kubeconfig = folder / "kubeconfig"
        self._kubeconfig.write_text(yaml.safe_dump(config))
        self._environment = {**os.environ, "KUBECACHEDIR": str(server.folder / "kubectl")}
        self.namespaces = {namespace}

    def owned(self, item: Json) -> Json:
        """The object, in a namespace of this reader's."""
        meta = dict(item["metadata"])
        if item["kind"] == "Namespace":
            meta["name"] = self._place(meta["name"])
        elif item["kind"] not in OF_THE_CLUSTER and "namespace" in meta:
            meta["namespace"] = self._place(meta["namespace"])
        return {**item, "metadata": meta}

    def _place(self, name: str) -> str:
        place = f"{self._namespace}-{name}"
        if place not in self.namespaces:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}}
            apply(self._server, body, dry_run=False)
            self.namespaces.add(place)
        return place

    def kubectl(self, *arguments: str, objects: Iterable[Json]) -> "subprocess.CompletedProcess[str]":
        command = [str(binary("kubectl")), f"--kubeconfig={self._kubeconfig}", *arguments, "--filename=-"]
        text = yaml.safe_dump_all(objects, sort_keys=False)
        return subprocess.run(
            command, input=text, env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )


@pytest.fixture
def reader(server: ApiServer, tmp_path: Path, namespace: str) -> Reader:
    return Reader(server, tmp_path, namespace)


async def check(reader: Reader, client: Client, home: str, found: list[Manifest], *how: str) -> None:
    """Apply what a reader would apply, in the order of the page, and look for a difference after the operator's pass."""
    for batch in batches([reader.owned(item) for manifest in found for item in manifest.objects]):
        applied = reader.kubectl("apply", "--validate=strict", *how, objects=batch)
        assert applied.returncode == 0, applied.stderr
        assert applied.stderr == "", "no warning"
        await passes(reader, client, home, batch)
        diff = reader.kubectl("diff", *how, objects=batch)
        assert (diff.returncode, diff.stdout, diff.stderr) == (0, "", "")


async def passes(reader: Reader, client: Client, home: str, batch: list[Json]) -> None:
    """Let the operator work on the models of a batch."""
    for namespace in sorted(reader.namespaces):
        names = [
            item["metadata"]["name"]
            for item in batch
            if item["kind"] == "ModelDeployment"
            if item["metadata"].get("namespace", min(reader.namespaces, key=len)) == namespace
        ]
        if not names:
            continue
        async with make_rig(client, namespace, home=home) as rig:
            await rig.costs.look(namespace)
            for name in names:
                await rig.reconcile(name)
                ready = await rig.condition("Ready", name)
                assert ready["reason"] not in FAULTS, f"{name}: {ready['message']}"


def batches(objects: list[Json]) -> Iterator[list[Json]]:
    """As few lists as can be, in each of which no object comes twice."""
    batch: list[Json] = []
    seen: set[tuple[str, str, str]] = set()
    for item in objects:
        meta = item["metadata"]
        identity = (item["kind"], meta.get("namespace", ""), meta["name"])
        if identity in seen:
            yield batch
            batch, seen = [], set()
        seen.add(identity)
        batch.append(item)
    if batch:
        yield batch


@pytest.fixture(scope="module")
def flux_kinds(server: ApiServer) -> None:
    """The CustomResourceDefinitions of Flux, whose objects operator/tasks/gitops.md shows."""
    for name in ("source", "kustomize"):
        folder = module_source(f"flux-{name}", f"github.com/fluxcd/{name}-controller") / "config" / "crd" / "bases"
        for file in sorted(folder.glob("*.yaml")):
            apply(server, yaml.safe_load(file.read_text()), dry_run=False)


@pytest.mark.usefixtures("flux_kinds", "gateway_api")
@pytest.mark.parametrize("page", PAGES)
async def test_a_page_s_manifests_stay_as_they_were_applied(
    page: str, reader: Reader, client: Client, home: str
) -> None:
    await check(reader, client, home, manifests(page))


async def test_the_examples_stay_as_they_were_applied(reader: Reader, client: Client, home: str) -> None:
    """Server-side, as Flux and Argo CD can."""
    documents = [item for path in EXAMPLES for item in yaml.safe_load_all(path.read_text()) if item["kind"] != "Node"]
    for document in documents:
        document["metadata"].pop("namespace", None)
    await check(reader, client, home, [Manifest("examples", 0, documents, {})], "--server-side")


def test_the_pages_values_are_values_of_the_chart(tmp_path: Path) -> None:
    for number, manifest in enumerate(one for page in PAGES for one in manifests(page) if one.values):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(manifest.values))
        try:
            template(f"--values={file}")
        except subprocess.CalledProcessError as error:
            pytest.fail(f"{manifest.where}: {error.stderr}")
