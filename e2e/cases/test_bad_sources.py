"""A model that cannot be had or loaded: the condition names the reason, and the message what a user needs to mend it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from e2e.cases.case import Case
from e2e.cases.manifests import NAME, credentials, model_deployment, storage

pytestmark = pytest.mark.core
WRONG_DIGEST = "sha256:" + "0" * 64
CLOSED = "http://127.0.0.1:9"


class Bad(NamedTuple):
    """One way to be wrong, and what the user is told."""

    named: str
    manifest: Callable[[Case], dict[str, Any]]
    reason: str
    text: str
    condition: str = "ModelAvailable"


TABLE = (
    Bad(
        "wrong digest",
        lambda case: case.model_service(model={"digest": WRONG_DIGEST}),
        "DigestMismatch",
        WRONG_DIGEST,
        "ModelVerified",
    ),
    Bad(
        "missing bucket",
        lambda case: model_deployment("s3://no-such-bucket/adder/1/", storage(case.store)),
        "BucketNotFound",
        "no-such-bucket",
    ),
    Bad("missing key", lambda case: case.model_service("adder/99/"), "ModelNotFound", "adder/99/"),
    Bad("missing file", lambda case: case.model_service("adder/99.onnx"), "ModelNotFound", "adder/99.onnx"),
    Bad("truncated file", lambda case: case.model_service("truncated/"), "InvalidModel", "model.onnx"),
    Bad("no model file", lambda case: case.model_service("no-model/"), "NoModelFile", "model.onnx"),
    Bad("too new an opset", lambda case: case.model_service("new-opset/"), "UnsupportedOpset", "opset 99"),
    Bad(
        "path leaves the folder",
        lambda case: case.model_service("leaving/"),
        "ExternalDataOutsideFolder",
        "../etc/passwd",
    ),
    Bad(
        "store does not answer",
        lambda case: case.model_service(storage=storage(case.store, endpoint=CLOSED)),
        "SourceUnreachable",
        "127.0.0.1:9",
    ),
)


@pytest.mark.parametrize("bad", TABLE, ids=[bad.named.replace(" ", "-") for bad in TABLE])
def test_a_bad_source_is_explained(case: Case, bad: Bad) -> None:
    case.apply(bad.manifest(case))
    case.wait_condition(NAME, bad.condition, "False", bad.reason, bad.text)
    case.wait_condition(NAME, "Ready", "False", bad.reason, bad.text)
    failure = case.model()["status"]["model"]["lastFailure"]
    assert failure.startswith(f"{bad.reason}: pod ")


def test_wrong_credentials_are_explained_and_heal_without_a_new_apply(case: Case) -> None:
    case.apply(credentials(case.store, secret_key="wrong"))
    case.apply(case.model_service())
    case.wait_condition(NAME, "ModelAvailable", "False", "AccessDenied", f"{case.prefix}/adder/1/")
    case.apply(credentials(case.store))
    case.wait_ready()


def test_a_certificate_of_a_private_authority_needs_its_bundle(case: Case) -> None:
    bare = storage(case.store, endpoint=case.store.https_endpoint)
    case.apply(case.model_service(storage=bare))
    case.wait_condition(NAME, "ModelAvailable", "False", "CertificateInvalid", "caBundleRef")
    case.apply(case.model_service(storage=bare | {"caBundleRef": {"name": "corp-ca"}}))
    case.wait_condition(NAME, "WorkloadAvailable", "False", "ConfigMapNotFound", "corp-ca")
    case.apply_authority()
    case.wait_ready()
