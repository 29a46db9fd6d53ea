"""The chart's life on a cluster that has nothing yet: install, upgrade, uninstall, and what outlives it.

A server of its own: the session's has the CRD already.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

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

    apply(bare, model(URI, "precious"), dry_run=False)
    helm(bare, "uninstall", "modelward")
    with pytest.raises(Refused, match="not found"):
        request(bare, "GET", DEPLOYMENT)
    assert request(bare, "GET", "/apis/modelward.dev/v1alpha1/namespaces/default/modeldeployments/precious")

    install(bare, CHART)
    assert request(bare, "GET", DEPLOYMENT)["spec"]["replicas"] == 2
    assert request(bare, "GET", "/apis/modelward.dev/v1alpha1/namespaces/default/modeldeployments/precious")
