"""A plain model as an artifact of a real registry with a password and a private CA, by tag and by digest; and what it is told otherwise."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.cases import manifests
from e2e.cases.case import Case
from e2e.cases.clients import add
from e2e.cases.manifests import AUTHORITY, NAME, Object, model_deployment
from e2e.cases.tiny_models import adder
from e2e.cases.websites import node_address
from tests.integration.objectstore import certificates
from tests.integration.registry import PASSWORD, USER, Registry, docker_config, password, registry

HOST = "registry.example"


@pytest.fixture
def locked(case: Case, tmp_path: Path) -> Iterator[Registry]:
    """It holds `risk/adder:5` and wants a password; its CA is in the namespace."""
    address = node_address(case)
    made = certificates(tmp_path / "tls", address=address)
    case.apply(manifests.authority(made.ca))
    basic = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    auth = password(tmp_path)
    with registry(tmp_path / "registry", auth=auth, address=address) as plain:
        replace(plain, headers=basic).push("risk/adder", "5", {"model.onnx": adder(5).SerializeToString()})
    with registry(tmp_path / "registry", auth=auth, tls=made, address=address) as running:
        yield running


def pull_secret(folder: Path, word: str = PASSWORD) -> Object:
    """As `kubectl create secret docker-registry` makes it."""
    content = docker_config(folder, HOST, word=word).read_text()
    kind = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson"}
    return kind | {"metadata": {"name": "registry-pull"}, "stringData": {".dockerconfigjson": content}}


def deployment(reference: str, locked: Registry, **model: object) -> Object:
    storage = {
        "endpoint": locked.endpoint,
        "secretRef": {"name": "registry-pull"},
        "caBundleRef": {"name": AUTHORITY},
    }
    return model_deployment(f"oci://{HOST}/{reference}", storage, model=model)


def manifest_digest(locked: Registry) -> str:
    """What the tag names, as the registry keeps it."""
    (link,) = locked.data.rglob("tags/5/current/link")
    return link.read_text()


def test_an_artifact_by_its_digest_is_served_once_the_password_is_right(
    case: Case, locked: Registry, tmp_path: Path
) -> None:
    case.apply(pull_secret(tmp_path, word="of-yesterday"), deployment(f"risk/adder@{manifest_digest(locked)}", locked))
    case.wait_condition(NAME, "ModelAvailable", "False", "AccessDenied", HOST)
    case.apply(pull_secret(tmp_path))
    case.wait_ready()
    assert add(case.service_address()) == 5


def test_a_missing_tag_is_explained(case: Case, locked: Registry, tmp_path: Path) -> None:
    case.apply(pull_secret(tmp_path), deployment("risk/adder:6", locked))
    case.wait_condition(NAME, "ModelAvailable", "False", "ModelNotFound", "MANIFEST_UNKNOWN")
    case.wait_condition(NAME, "Ready", "False", "ModelNotFound")


def test_bytes_that_were_exchanged_in_the_registry_are_not_served(case: Case, locked: Registry, tmp_path: Path) -> None:
    (manifest,) = (
        json.loads(found)
        for found in (file.read_bytes() for file in locked.data.rglob("data") if file.is_file())
        if found.startswith(b'{"schemaVersion"')
    )
    algorithm, _, digits = manifest["layers"][0]["digest"].partition(":")
    (blob,) = locked.data.rglob(f"blobs/{algorithm}/{digits[:2]}/{digits}/data")
    assert len(adder(6).SerializeToString()) == blob.stat().st_size
    blob.write_bytes(adder(6).SerializeToString())
    case.apply(pull_secret(tmp_path), deployment("risk/adder:5", locked))
    case.wait_condition(NAME, "Ready", "False", "DigestMismatch", "model.onnx")


def test_a_certificate_of_a_private_authority_needs_its_bundle(case: Case, locked: Registry, tmp_path: Path) -> None:
    model = deployment("risk/adder:5", locked)
    bundle = model["spec"]["model"]["storage"].pop("caBundleRef")
    case.apply(pull_secret(tmp_path), model)
    case.wait_condition(NAME, "ModelAvailable", "False", "CertificateInvalid", "caBundleRef")
    case.change({"model": {"storage": {"caBundleRef": bundle}}})
    case.wait_ready()
