"""A sealed model whose key-encryption key is in AWS KMS, played by moto's server on the node: part of `make e2e SUITE=keys`."""

import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import onnx
import pytest

from e2e.cases import manifests
from e2e.cases.case import Case
from e2e.cases.clients import add
from e2e.cases.conftest import upload
from e2e.cases.kube import wait
from e2e.cases.manifests import NAME
from e2e.cases.place import Store
from e2e.cases.sealing import Workshop, security
from e2e.cases.tiny_models import adder

pytestmark = pytest.mark.keys
PORT, REGION = 8230, "us-east-1"


@pytest.fixture(scope="module")
def endpoint(store: Store) -> Iterator[str]:
    """The address of a KMS that nobody here wrote."""
    host = str(urlsplit(store.endpoint).hostname)
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", host, "-p", str(PORT)]

    def listens() -> bool:
        with closing(socket.socket()) as probe:
            return probe.connect_ex((host, PORT)) == 0

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait("moto listens", listens, within=60)
            yield f"http://{host}:{PORT}"
        finally:
            server.terminate()


@pytest.fixture
def kms(endpoint: str) -> Any:
    return botocore.session.get_session().create_client("kms", region_name=REGION, endpoint_url=endpoint)


def test_a_key_in_kms_opens_a_model_and_another_key_does_not(
    case: Case, kms: Any, endpoint: str, tmp_path: Path
) -> None:
    workshop = Workshop(tmp_path)
    model = tmp_path / "adder.onnx"
    onnx.save(adder(1), str(model))
    key, other = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    environment = {"AWS_ENDPOINT_URL_KMS": endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
    sealed = workshop.seal(model, case.namespace, kek=f"awskms:{key}", kek_id="", environment=environment)
    uri = f"{case.prefix}/{case.namespace}/{secrets.token_hex(3)}/"
    upload(sealed, uri)
    case.apply(workshop.trust_map())

    def declared(arn: str) -> dict[str, Any]:
        reference = {"provider": "AWSKMS", "awsKms": {"key": arn, "region": REGION, "endpoint": endpoint}}
        return manifests.model_deployment(uri, manifests.storage(case.store), security=security(reference))

    case.apply(declared(other))
    case.wait_condition(NAME, "ModelDecrypted", "False", "KeyNotFound", other)
    case.apply(declared(key))
    case.wait_ready()
    assert add(case.service_address()) == 1
    assert case.model()["status"]["model"]["keyId"] == key
