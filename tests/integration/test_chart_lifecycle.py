"""The chart's life on a cluster that has nothing yet: install, upgrade, uninstall, and what outlives it.

A server of its own: the session's has the CRD already.
"""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from e2e.cluster.binaries import binary
from helm.render import CHART
from tests.integration.apiserver import ApiServer, api_server
from tests.integration.rest import Refused, apply, request
from tests.specs import URI, model

CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modeldeployments.modelward.dev"
DEPLOYMENT = "/apis/apps/v1/namespaces/modelward-system/deployments/modelward-operator"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("bare")) as running:
        yield running


def helm(server: ApiServer, *arguments: str) -> str:
    where = (f"--kubeconfig={server.kubeconfig}", "--namespace=modelward-system")
    done = subprocess.run([str(binary("helm")), *arguments, *where], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def install(server: ApiServer, chart: Path, *settings: str) -> str:
    return helm(server, "upgrade", "--install", "modelward", str(chart), "--create-namespace", *settings)


def older(folder: Path) -> Path:
    """A copy of the chart whose CRD lacks what this version added: here, the short name."""
    copy = folder / "modelward"
    subprocess.run(["cp", "-r", str(CHART), str(copy)], check=True)
    crd = copy / "files" / "crds" / "modeldeployments.yaml"
    crd.write_text(crd.read_text().replace("    shortNames:\n    - mdep\n", ""))
    return copy


def test_crd_follows_an_upgrade_and_models_outlive_the_release(bare: ApiServer, tmp_path: Path) -> None:
    install(bare, older(tmp_path))
    assert "shortNames" not in request(bare, "GET", CRD)["spec"]["names"]

    notes = install(bare, CHART, "--set=operator.replicas=1")
    assert "ModelWard 0.1.0 is installed in namespace modelward-system" in notes
    assert request(bare, "GET", CRD)["spec"]["names"]["shortNames"] == ["mdep"]
    assert request(bare, "GET", DEPLOYMENT)["spec"]["replicas"] == 1

    until(lambda: apply(bare, model(URI, "precious"), dry_run=False))
    helm(bare, "uninstall", "modelward")
    with pytest.raises(Refused, match="not found"):
        request(bare, "GET", DEPLOYMENT)
    assert request(bare, "GET", "/apis/modelward.dev/v1alpha1/namespaces/default/modeldeployments/precious")

    install(bare, CHART)
    assert request(bare, "GET", DEPLOYMENT)["spec"]["replicas"] == 2
    assert request(bare, "GET", "/apis/modelward.dev/v1alpha1/namespaces/default/modeldeployments/precious")


def test_going_back_hides_what_the_older_version_does_not_know_until_it_is_written(
    bare: ApiServer, tmp_path: Path
) -> None:
    """As operator/tasks/upgrade.md says: a field that is younger than the CRD is not seen, and lost with the next write."""
    path = "/apis/modelward.dev/v1alpha1/namespaces/default/modeldeployments/younger"
    former = older(tmp_path)
    crd = former / "files" / "crds" / "modeldeployments.yaml"
    known = yaml.safe_load(crd.read_text())
    schema = known["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del schema["properties"]["suspend"]
    crd.write_text(yaml.safe_dump(known, sort_keys=False))
    install(bare, former)
    install(bare, CHART)
    body = model(URI, "younger")
    until(lambda: apply(bare, body | {"spec": body["spec"] | {"suspend": True}}, dry_run=False)["spec"].get("suspend"))
    helm(bare, "rollback", "modelward")
    until(lambda: "suspend" not in request(bare, "GET", path)["spec"])
    install(bare, CHART)
    until(lambda: request(bare, "GET", path)["spec"].get("suspend"))
    helm(bare, "rollback", "modelward")
    until(lambda: "suspend" not in request(bare, "GET", path)["spec"])
    labelled = {"metadata": {"labels": {"written": "once"}}}
    request(bare, "PATCH", path, labelled, headers={"Content-Type": "application/merge-patch+json"})
    install(bare, CHART)
    until(lambda: "suspend" in request(bare, "GET", path)["spec"])
    assert request(bare, "GET", path)["spec"]["suspend"] is False, (
        "the write has dropped it for good: this is the default"
    )


def test_without_keep_the_definitions_and_all_models_go_with_the_release(bare: ApiServer) -> None:
    """`crds.keep: false`, also where it was true when the release was installed."""
    path = "/apis/modelward.dev/v1alpha1/namespaces/default/modeldeployments/doomed"
    install(bare, CHART)
    until(lambda: apply(bare, model(URI, "doomed"), dry_run=False))
    install(bare, CHART, "--set=crds.keep=false")
    assert request(bare, "GET", path), "the value alone takes nothing away"
    helm(bare, "uninstall", "modelward")
    until(lambda: not ours(bare) and "modelward.dev" not in served(bare))

    install(bare, CHART)
    until(lambda: apply(bare, model(URI, "doomed"), dry_run=True))
    with pytest.raises(Refused, match="not found"):
        request(bare, "GET", path)


def served(server: ApiServer) -> list[str]:
    """The groups of kinds that the API server has."""
    return [one["name"] for one in request(server, "GET", "/apis")["groups"]]


def ours(server: ApiServer) -> list[str]:
    """The CustomResourceDefinitions that a release brings."""
    found = request(server, "GET", f"{CRD.rpartition('/')[0]}?labelSelector=app.kubernetes.io/part-of=modelward")
    return [one["metadata"]["name"] for one in found["items"]]


def until(true: Callable[[], object]) -> None:
    """Wait for the API server to serve a changed CRD."""
    limit = time.monotonic() + 120  # busy machines take their time to end seven kinds
    while time.monotonic() < limit:
        with contextlib.suppress(Refused):
            if true():
                return
        time.sleep(0.2)
    assert true()
