"""A model in Google Cloud Storage: its client against the cluster's own store, behind a gate that asks for a service account's token."""

from collections.abc import Iterator

import pytest

from e2e.cases.case import Case
from e2e.cases.clients import add
from e2e.cases.manifests import NAME, Object, model_deployment
from e2e.cases.websites import node_address
from tests.integration.googlestore import Gate, account_key, gate

STRANGER = account_key(client_email="stranger@project.iam.gserviceaccount.com")


@pytest.fixture
def google(case: Case) -> Iterator[Gate]:
    store = case.store
    with gate(store.endpoint, store.access_key, store.secret_key, node_address(case)) as running:
        yield running


def secret(content: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "gs-read"}, "stringData": {"key.json": content}}


def deployment(case: Case, google: Gate, path: str, **model: object) -> Object:
    storage = {"endpoint": f"http://{google.host}", "secretRef": {"name": "gs-read"}}
    return model_deployment(f"gs://{path}", storage, model=model)


def below(case: Case, path: str) -> str:
    """The bucket and the key of what was uploaded."""
    return f"{case.prefix.removeprefix('s3://')}/{path}"


def test_a_model_is_served_once_the_account_is_the_right_one(case: Case, google: Gate) -> None:
    case.apply(secret(STRANGER), deployment(case, google, below(case, "adder/2/")))
    case.wait_condition(NAME, "ModelAvailable", "False", "AccessDenied", "AuthenticationRequired")
    case.apply(secret(account_key()))
    case.wait_ready()
    assert add(case.service_address()) == 2
    assert not any("computeMetadata" in path for path in google.asked), "a key was given, and the node is not asked"


@pytest.mark.parametrize(
    ("path", "reason", "text"),
    [
        pytest.param("no-such-bucket/adder/1/", "BucketNotFound", "no-such-bucket", id="bucket"),
        pytest.param("{}/adder/99/", "ModelNotFound", "there is nothing under this", id="prefix"),
        pytest.param("{}/adder/99.onnx", "ModelNotFound", "there is no such object", id="object"),
        pytest.param("{}/truncated/", "InvalidModel", "model.onnx", id="truncated"),
    ],
)
def test_what_is_not_there_is_explained(case: Case, google: Gate, path: str, reason: str, text: str) -> None:
    case.apply(secret(account_key()), deployment(case, google, path.format(below(case, "").rstrip("/"))))
    case.wait_condition(NAME, "ModelAvailable", "False", reason, text)
    case.wait_condition(NAME, "Ready", "False", reason, text)


def test_a_key_that_is_none_is_explained_and_not_shown(case: Case, google: Gate) -> None:
    broken = account_key(private_key="-----BEGIN PRIVATE KEY-----\nMIIBsesame\n-----END PRIVATE KEY-----\n")
    case.apply(secret(broken), deployment(case, google, below(case, "adder/1/")))
    case.wait_condition(NAME, "Ready", "False", "AccessDenied", "holds a private key that cannot be used")
    assert "sesame" not in case.told()


def test_another_model_than_declared_is_not_served(case: Case, google: Gate) -> None:
    digest = "sha256:" + "0" * 64
    case.apply(secret(account_key()), deployment(case, google, below(case, "adder/1/"), digest=digest))
    case.wait_condition(NAME, "ModelVerified", "False", "DigestMismatch", digest)
    case.wait_condition(NAME, "Ready", "False", "DigestMismatch", digest)
