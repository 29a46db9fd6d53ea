"""A volume that pods share: a model that lies there is served without its store, and of a sealed one only ciphertext lies there."""

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from e2e.cases import manifests
from e2e.cases.case import PATIENCE, Case
from e2e.cases.clients import add
from e2e.cases.conftest import upload
from e2e.cases.kube import wait
from e2e.cases.manifests import Object
from e2e.cases.sealing import Workshop, security
from e2e.cases.tiny_models import adder

pytestmark = pytest.mark.core
FOLDER = "/tmp/hostpath_pv/{}"
LISTING = """
import pathlib
for file in pathlib.Path("/to").rglob("*"):
    if file.is_file():
        print(file.relative_to("/to"), b"Add" in file.read_bytes())
"""


@pytest.fixture
def keeper(case: Case) -> Iterator[Case]:
    """A namespace without restrictions; the volume is claimed as `cache` in the case's own, and anybody may write to it."""
    name = f"cache-of-{case.namespace}"
    keeper = replace(case, namespace=f"{case.namespace}-keeper")
    case.kube.apply(manifests.namespace(keeper.namespace, {}))
    opened(keeper, "opener", name, "import os; os.chmod('/to', 0o777)")
    case.claim_folder("cache", name, FOLDER.format(name))
    yield replace(keeper, prefix=name)
    case.kube.delete("Namespace", keeper.namespace)
    case.kube.delete("PersistentVolume", name)


def opened(keeper: Case, pod: str, volume: str, script: str) -> str:
    """Run a script as root with the volume at /to; what it prints."""
    writer = manifests.host_writer(pod, pod, FOLDER.format(volume))
    writer["spec"]["containers"][0]["command"][-1] = script
    keeper.apply(manifests.files(pod, {"none": b""}), writer)

    def done() -> bool:
        found = keeper.kube.find("Pod", pod, keeper.namespace)
        return bool(found.get("status", {}).get("phase") == "Succeeded")

    wait(f"{pod} is done", done, within=PATIENCE, last=lambda: keeper.kube.logs(pod, keeper.namespace))
    return keeper.kube.logs(pod, keeper.namespace)


def sealed_model(case: Case, tmp_path: Path) -> Object:
    """A sealed model in the store with its keys in the cluster; the ModelDeployment that keeps it on the claim."""
    workshop = Workshop(tmp_path)
    plain = tmp_path / "adder.onnx"
    onnx.save(adder(1), str(plain))
    sealed = workshop.seal(plain, case.namespace)
    uri = f"{case.prefix}/{case.namespace}/{secrets.token_hex(3)}/"
    upload(sealed, uri)
    case.apply(workshop.key_secret("k1"), workshop.trust_map())
    digest = workshop.run("digest", [sealed], {}).strip()
    model = {"digest": digest, "cache": {"claimName": "cache", "sizeLimit": "8Mi"}}
    return manifests.model_deployment(uri, manifests.storage(case.store), model=model, security=security())


def test_a_pod_finds_a_model_on_the_claim_when_the_store_lets_nobody_in(
    case: Case, keeper: Case, tmp_path: Path
) -> None:
    case.apply(sealed_model(case, tmp_path))
    case.wait_ready()
    assert add(case.service_address()) == 1
    case.apply(manifests.credentials(case.store, secret_key="wrong"))
    case.change({"scaling": {"replicas": 2}})  # another pod, which cannot have it from the store
    wait("two pods serve", lambda: case.model()["status"].get("readyReplicas") == 2, within=PATIENCE, last=case.told)
    case.wait_ready()
    assert add(case.service_address()) == 1


def test_of_a_sealed_model_only_ciphertext_lies_on_the_claim_and_a_changed_byte_is_not_served(
    case: Case, keeper: Case, tmp_path: Path
) -> None:
    case.apply(sealed_model(case, tmp_path))
    case.wait_ready()
    listed = opened(keeper, "looker", keeper.prefix, LISTING).splitlines()
    kept = [line.rsplit(" ", 1) for line in listed if "/data/" in line]
    assert kept, f"the model lies on the claim: {listed}"
    assert {"False"} == {told for _, told in kept}, "the operator's name stands in no ciphertext"

    flip = (
        "import pathlib\n"
        "for file in pathlib.Path('/to').rglob('data/*'):\n"
        "    content = bytearray(file.read_bytes())\n"
        "    content[-1] ^= 1\n"
        "    file.write_bytes(content)\n"
    )
    opened(keeper, "flipper", keeper.prefix, flip)
    case.replace_pod()
    assert add(case.service_address()) == 1, "it was fetched anew"
