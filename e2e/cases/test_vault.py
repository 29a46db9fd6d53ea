"""Sealed models whose key-encryption key never leaves a real Vault: `make e2e SUITE=keys`."""

from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from e2e.cases import manifests, vault
from e2e.cases.case import PATIENCE, Case
from e2e.cases.clients import add
from e2e.cases.conftest import upload
from e2e.cases.kube import Kube, Object, wait
from e2e.cases.manifests import NAME
from e2e.cases.place import Store
from e2e.cases.sealing import Workshop, security
from e2e.cases.tiny_models import adder
from e2e.cases.vault import KEY, Vault, role

pytestmark = pytest.mark.keys
AUTHORITY = "vault-ca"


@pytest.fixture(scope="module")
def keeper(kube: Kube, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    with vault.run(tmp_path_factory.mktemp("vault"), store.endpoint, kube) as running:
        yield running


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def seal(case: Case, workshop: Workshop, keeper: Vault) -> Path:
    """Seal the adder with Vault's key, as somebody who may only encrypt."""
    model = workshop.folder / "adder.onnx"
    onnx.save(adder(1), str(model))
    return workshop.seal(model, case.namespace, kek=keeper.kek, kek_id="", environment=keeper.environment())


def serve(case: Case, workshop: Workshop, keeper: Vault, sealed: Path, account: str = NAME) -> None:
    """Apply all that a model with a key in Vault needs; Vault lets this service account in."""
    keeper.allow(case.namespace, account)
    authority = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": AUTHORITY}}
    case.apply(authority | {"data": {"ca.crt": keeper.ca_file.read_text()}}, workshop.trust_map())
    uri = f"{case.prefix}/{case.namespace}/sealed/"
    upload(sealed, uri)
    case.apply(manifests.model_deployment(uri, manifests.storage(case.store), security=security(key_ref(case, keeper))))


def key_ref(case: Case, keeper: Vault) -> Object:
    reference = {
        "address": keeper.address,
        "key": KEY,
        "role": role(case.namespace),
        "caBundleRef": {"name": AUTHORITY},
    }
    return {"provider": "Vault", "vault": reference}


def replace_pod(case: Case) -> None:
    """Kill the pod: the next one must open the model anew."""
    (pod,) = case.pods()
    case.kube.delete("Pod", pod["metadata"]["name"], case.namespace, grace=0)
    wait(
        "the pod is gone",
        lambda: pod["metadata"]["uid"] not in [one["metadata"]["uid"] for one in case.pods()],
        within=PATIENCE,
    )


def test_a_key_in_vault_opens_a_model_and_changes_its_version(case: Case, workshop: Workshop, keeper: Vault) -> None:
    sealed = seal(case, workshop, keeper)
    serve(case, workshop, keeper, sealed)
    case.wait_ready()
    assert add(case.service_address()) == 1
    told = case.model()["status"]["model"]
    assert (told["keyId"], told["keyVersion"]) == (f"transit/{KEY}", "v1")

    keeper.rotate()
    flags = {
        "kek": keeper.kek,
        "new_kek": keeper.kek,
        "new_kek_id": f"transit/{KEY}",
        "sign_key": str(workshop.signing_key()),
    }
    workshop.run("rewrap", [sealed], flags, keeper.environment(keeper.rewrapper_token))
    upload(sealed, f"{case.prefix}/{case.namespace}/sealed/")
    (before,) = case.pods()
    assert case.condition("Ready")["status"] == "True", "nothing changes for the pod that serves"
    replace_pod(case)
    wait("the key's new version is told", lambda: _version(case) == "v2", within=PATIENCE, last=case.told)
    case.wait_ready()
    assert before["metadata"]["uid"] not in [pod["metadata"]["uid"] for pod in case.pods()]
    assert add(case.service_address()) == 1


def _version(case: Case) -> str:
    return str(case.model()["status"].get("model", {}).get("keyVersion", ""))


def test_a_sealed_vault_stops_new_pods_and_no_serving_one(case: Case, workshop: Workshop, keeper: Vault) -> None:
    serve(case, workshop, keeper, seal(case, workshop, keeper))
    case.wait_ready()
    keeper.seal()
    try:
        assert add(case.service_address()) == 1
        replace_pod(case)
        case.wait_condition(NAME, "ModelDecrypted", "False", "KeyServiceUnreachable", "(retrying)")
        case.wait_condition(NAME, "Ready", "False", "KeyServiceUnreachable")
    finally:
        keeper.unseal()
    case.wait_ready()
    assert add(case.service_address()) == 1


def test_a_role_that_was_taken_away_is_named(case: Case, workshop: Workshop, keeper: Vault) -> None:
    serve(case, workshop, keeper, seal(case, workshop, keeper))
    case.wait_ready()
    keeper.forbid(case.namespace)
    replace_pod(case)
    case.wait_condition(NAME, "ModelDecrypted", "False", "KeyDenied", role(case.namespace))
    keeper.allow(case.namespace, NAME)
    case.wait_ready()


def test_another_service_account_may_not_open_it(case: Case, workshop: Workshop, keeper: Vault) -> None:
    serve(case, workshop, keeper, seal(case, workshop, keeper), account="somebody-else")
    case.wait_condition(NAME, "ModelDecrypted", "False", "KeyDenied", role(case.namespace))
    case.wait_condition(NAME, "Ready", "False", "KeyDenied")
