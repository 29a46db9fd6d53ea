"""A claim that is full, or that somebody has changed: it costs a download, and never a start or another model."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from e2e.cases import manifests
from e2e.cases.case import PATIENCE, Case
from e2e.cases.clients import add
from e2e.cases.kube import Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.node import on_node, small_disk
from e2e.cases.tiny_models import adder

MODEL, OTHER = adder(1).SerializeToString(), adder(9).SerializeToString()
DIGEST = hashlib.sha256(f"{hashlib.sha256(MODEL).hexdigest()}  model.onnx\n".encode()).hexdigest()
EXCHANGE = """
import base64, os, pathlib, signal, sys
(file,) = pathlib.Path(os.environ["MODELWARD_CACHE_DIR"]).rglob("model.onnx")
file.write_bytes(base64.b64decode(sys.argv[1]))
os.kill(1, signal.SIGTERM)
"""


@dataclass(frozen=True)
class Claim:
    """A claim `cache` of the case's namespace, and its folder on the node."""

    folder: str

    def fill(self) -> None:
        """Leave not a byte."""
        on_node("sh", "-c", f"cat /dev/zero > {self.folder}/theirs 2>/dev/null || true")
        assert on_node("stat", "-f", "-c", "%f", self.folder).strip() == b"0"

    def empty(self) -> None:
        """Take away what filled it."""
        on_node("rm", f"{self.folder}/theirs")

    def kept(self) -> bytes:
        """The model as it lies there, empty when it does not."""
        return on_node("sh", "-c", f"cat {self.folder}/entries/{DIGEST}/model.onnx 2>/dev/null || true")


@pytest.fixture
def claim(case: Case) -> Iterator[Claim]:
    name = f"small-of-{case.namespace}"
    with small_disk(name, kibibytes=1024) as folder:
        case.claim_folder("cache", name, folder)
        yield Claim(folder)
        case.kube.delete("Namespace", case.namespace)
        case.kube.delete("PersistentVolume", name)


def cached(case: Case) -> Object:
    return case.model_service(model={"digest": f"sha256:{DIGEST}", "cache": {"claimName": "cache", "sizeLimit": "1Mi"}})


def logs(case: Case) -> str:
    (pod,) = case.pods()
    return case.kube.logs(pod["metadata"]["name"], case.namespace)


def test_a_full_claim_costs_a_download_and_no_start(case: Case, claim: Claim) -> None:
    claim.fill()
    case.apply(cached(case))
    case.wait_ready()
    assert add(case.service_address()) == 1
    assert "the shared cache is of no use, this pod fetches for itself" in logs(case)
    assert claim.kept() == b""
    claim.empty()
    case.replace_pod()
    assert add(case.service_address()) == 1
    assert claim.kept() == MODEL, "there is room again: the next pod finds it here"


def test_a_model_that_was_exchanged_on_the_claim_is_not_served(case: Case, claim: Claim) -> None:
    case.apply(cached(case))
    case.wait_ready()
    assert claim.kept() == MODEL
    on_node("tee", f"{claim.folder}/entries/{DIGEST}/model.onnx", given=OTHER)
    case.replace_pod()
    assert add(case.service_address()) == 1, "it was fetched anew"
    assert "what the shared cache holds is not the model" in logs(case)
    assert claim.kept() == MODEL, "and put in its place"


def test_a_model_that_was_exchanged_on_the_pods_own_disk_is_not_served(case: Case) -> None:
    case.serve()
    (pod,) = case.pods()
    name, content = pod["metadata"]["name"], base64.b64encode(OTHER).decode()
    case.kube.kubectl("exec", "-n", case.namespace, name, "--", "python3", "-c", EXCHANGE, content)

    def restarted() -> bool:
        (found,) = case.pods()
        (container,) = found["status"]["containerStatuses"]
        return bool(container["restartCount"] == 1 and container["ready"])

    wait("its container serves anew", restarted, within=PATIENCE, last=case.told)
    case.wait_ready()
    assert add(case.service_address()) == 1, "what lay on the disk was hashed again, and fetched anew"


@pytest.mark.parametrize(
    ("path", "digest", "reason", "text"),
    [
        pytest.param("none/", None, "ModelNotFound", "none", id="no-such-folder"),
        pytest.param("notes/", None, "NoModelFile", "model.onnx", id="no-model-in-it"),
        pytest.param("fraud/", "0" * 64, "DigestMismatch", "0" * 64, id="another-model"),
    ],
)
def test_what_is_not_on_a_claim_is_explained(
    case: Case, claim: Claim, path: str, digest: str | None, reason: str, text: str
) -> None:
    on_node("mkdir", "-p", f"{claim.folder}/notes", f"{claim.folder}/fraud")
    on_node("tee", f"{claim.folder}/notes/README.txt", given=b"The model was never copied.")
    on_node("tee", f"{claim.folder}/fraud/model.onnx", given=MODEL)
    declared = {"digest": f"sha256:{digest}"} if digest else {}
    case.apply(manifests.model_deployment(f"pvc://cache/{path}", model=declared))
    case.wait_condition(NAME, "Ready", "False", reason, text)
    assert case.model()["status"]["model"]["lastFailure"].startswith(f"{reason}: pod ")
