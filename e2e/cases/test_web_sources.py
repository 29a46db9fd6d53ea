"""Models behind a web server of the node: served with a token and a private CA; and what its bad manners are called."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cases.case import Case
from e2e.cases.clients import add
from e2e.cases.manifests import NAME
from e2e.cases.websites import LIST, TOKEN, deployment, secret, website
from tests.integration.webserver import Manner, Site, page, redirecting

pytestmark = pytest.mark.core


@pytest.fixture
def site(case: Case, tmp_path: Path) -> Iterator[Site]:
    with website(case, tmp_path) as running:
        yield running


def test_a_folder_of_a_web_server_is_served_once_its_token_is_right(case: Case, site: Site) -> None:
    case.apply(secret("of-yesterday"))
    model = deployment(f"https://{site.host}/fraud/7/")
    model["spec"]["model"]["digest"] = f"sha256:{hashlib.sha256(LIST).hexdigest()}"
    case.apply(model)
    case.wait_condition(NAME, "ModelAvailable", "False", "AccessDenied", "model.storage.secretRef were sent")
    case.apply(secret(TOKEN))
    case.wait_ready()
    assert case.condition("ModelVerified")["reason"] == "DigestMatches"
    assert add(case.service_address()) == 7
    site.authorization = "Bearer of-tomorrow"
    asked = len(site.asked)
    assert add(case.service_address()) == 7, "who serves asks nobody"
    assert asked == len(site.asked)


BAD: list[tuple[str, str, Manner, str, str]] = [
    ("a circle", "https://{}/a.onnx", redirecting("/a.onnx"), "SourceUnreachable", "redirects more than 5 times"),
    ("out of TLS", "https://{}/a.onnx", redirecting("http://192.0.2.1/a.onnx"), "AccessDenied", "a place without TLS"),
    ("a login page", "https://{}/a.onnx", page, "InvalidModel", "a web page came in place of the file"),
    ("a registry's page", "oci://r.example/fraud:7", page, "InvalidModel", "a web page came in place of a manifest"),
]


@pytest.mark.parametrize(("case_of", "uri", "manner", "reason", "text"), BAD, ids=[bad[0] for bad in BAD])
def test_bad_manners_are_explained(
    case: Case, site: Site, case_of: str, uri: str, manner: Manner, reason: str, text: str
) -> None:
    site.manners = [manner]
    mirror = f"https://{site.host}" if uri.startswith("oci") else None
    case.apply(deployment(uri.format(site.host), secretRef=None, endpoint=mirror))
    case.wait_condition(NAME, "ModelAvailable", "False", reason, text)
    case.wait_condition(NAME, "Ready", "False", reason, text)
