"""A web server on the node with a model and its list, as a case's store. Used by the cases about `https://` and about bad manners."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from e2e.cases import manifests
from e2e.cases.case import Case
from e2e.cases.manifests import AUTHORITY, Object, model_deployment
from e2e.cases.tiny_models import adder
from tests.integration.objectstore import Certificates, certificates
from tests.integration.webserver import Site, web_server

TOKEN = "sesame-open"
MODEL = adder(7).SerializeToString()
LIST = f"{hashlib.sha256(MODEL).hexdigest()}  model.onnx\n".encode()


def node_address(case: Case) -> str:
    """Where pods reach what a case runs on the node."""
    return str(urlsplit(case.store.endpoint).hostname)


@contextmanager
def website(case: Case, folder: Path, made: Certificates | None = None) -> Iterator[Site]:
    """A server with one model, and its CA in the namespace; it wants a token."""
    address = node_address(case)
    shown = made or certificates(folder, address=address)
    case.apply(manifests.authority(shown.ca))
    with web_server(shown, address) as running:
        running.files = {"/fraud/7/model.onnx": MODEL, "/fraud/7/SHA256SUMS": LIST}
        running.authorization = f"Bearer {TOKEN}"
        yield running


def secret(token: str) -> Object:
    """The Secret with the token."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web-read"}, "stringData": {"token": token}}


def deployment(uri: str, **storage: object) -> Object:
    """A ModelDeployment of a model there; None takes a field of the storage out."""
    usual: Object = {"secretRef": {"name": "web-read"}, "caBundleRef": {"name": AUTHORITY}}
    return model_deployment(uri, {key: value for key, value in (usual | storage).items() if value is not None})
