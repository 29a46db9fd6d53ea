"""A model in a registry: sealed straight into it, and served from it."""

from pathlib import Path

import pytest

from e2e.cases import place
from e2e.cases.case import Case
from e2e.cases.clients import add
from e2e.cases.conftest import RUN
from e2e.cases.manifests import NAME, model_deployment
from e2e.cases.sealing import Workshop, security
from e2e.cases.tiny_models import adder

pytestmark = pytest.mark.core


def test_a_model_that_was_sealed_into_a_registry_is_served_from_it(case: Case, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    model = tmp_path / "model.onnx"
    model.write_bytes(adder(5).SerializeToString())
    address = f"oci://{place.registry()}/models/adder-{RUN}:1"
    identity = {"tenant": case.namespace, "name": NAME, "version": "1"}
    keys = {"kek": str(workshop.kek()), "kek_id": "k1", "sign_key": str(workshop.signing_key())}
    workshop.run("seal", [model, address, "--plain-http"], identity | keys)
    case.apply(workshop.key_secret(), workshop.trust_map())
    storage = {"endpoint": f"http://{place.registry()}"}
    case.apply(model_deployment(address, storage, model={"version": "1"}, security=security()))
    case.wait_ready()
    assert add(case.service_address()) == 5.0
    assert case.condition("ModelDecrypted")["status"] == "True"
