"""A server that does not keep what it announces, or is not who it says: the condition names the reason, and the message what came."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from e2e.cases.authority import Authority
from e2e.cases.case import Case
from e2e.cases.clients import add
from e2e.cases.manifests import NAME
from e2e.cases.websites import LIST, MODEL, deployment, node_address, website
from tests.integration.objectstore import Certificates, certificates
from tests.integration.webserver import Request, Site, redirecting

LARGE = 17 << 20  # bytes: more than one part, so that it is asked for in parts
OTHER = LIST.replace(LIST[:8], b"0" * 8)


@pytest.fixture
def site(case: Case, tmp_path: Path) -> Iterator[Site]:
    """As in test_web_sources.py, and nobody asks for a token."""
    with website(case, tmp_path) as running:
        running.authorization = ""
        yield running


def breaking(site: Site) -> None:
    """Every answer ends too early."""
    site.allowance = [1] * 10_000


def generous(site: Site) -> None:
    """Whoever asks for a part gets the whole, under the name of the part."""
    whole = bytes(LARGE)

    def manner(request: Request) -> bool:
        wanted = request.headers.get("range", "")
        if wanted in {"", "bytes=0-0"}:
            return False
        request.tell(206, whole, ETag='"1"', Content_Range=f"bytes {wanted[6:]}/{LARGE}")
        return True

    site.files["/fraud/7/model.onnx"] = whole
    site.manners = [manner]


def packed(site: Site) -> None:
    """What comes is compressed, and nobody asked for that."""

    def manner(request: Request) -> bool:
        request.tell(200, b"\x1f\x8b", Content_Encoding="gzip")
        return True

    site.manners = [manner]


def endless(site: Site) -> None:
    """It does not say how long the file is."""

    def manner(request: Request) -> bool:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"0\r\n\r\n")
        return True

    site.manners = [manner]


def in_pairs(site: Site) -> None:
    """Two addresses that lead to each other."""
    site.manners = [redirecting("/fraud/8/model.onnx", only="/fraud/7/"), redirecting("/fraud/7/model.onnx")]


def relisted(site: Site) -> None:
    """The list is of other bytes."""
    site.files["/fraud/7/SHA256SUMS"] = OTHER


def unlisted(site: Site) -> None:
    """A folder without a list."""
    del site.files["/fraud/7/SHA256SUMS"]


class Bad(NamedTuple):
    """One bad server, and what the user is told."""

    manner: Callable[[Site], None]
    path: str
    reason: str
    text: str


TABLE = {
    "fewer-bytes-than-announced": Bad(breaking, "model.onnx", "SourceUnreachable", "more expected"),
    "more-bytes-than-announced": Bad(generous, "model.onnx", "DigestMismatch", "more bytes came"),
    "packed": Bad(packed, "model.onnx", "InvalidModel", "sends it packed"),
    "no-length": Bad(endless, "model.onnx", "InvalidModel", "does not say how long it is"),
    "a-circle-of-two": Bad(in_pairs, "model.onnx", "SourceUnreachable", "redirects more than 5 times"),
    "other-bytes-than-listed": Bad(relisted, "", "DigestMismatch", "model.onnx"),
    "a-folder-without-a-list": Bad(unlisted, "", "ModelNotFound", "neither a SHA256SUMS"),
    "no-such-file": Bad(lambda _: None, "none.onnx", "ModelNotFound", "there is no such file"),
}


@pytest.mark.parametrize("bad", TABLE.values(), ids=TABLE)
def test_what_a_server_does_not_keep_is_explained(case: Case, site: Site, bad: Bad) -> None:
    bad.manner(site)
    case.apply(deployment(f"https://{site.host}/fraud/7/{bad.path}", secretRef=None))
    case.wait_condition(NAME, "Ready", "False", bad.reason, bad.text)
    failure = case.model()["status"]["model"]["lastFailure"]
    assert failure.startswith(f"{bad.reason}: pod ")
    assert bad.text in failure


def test_a_line_that_has_healed_serves_without_a_new_apply(case: Case, site: Site) -> None:
    breaking(site)
    case.apply(deployment(f"https://{site.host}/fraud/7/", secretRef=None))
    case.wait_condition(NAME, "ModelAvailable", "False", "SourceUnreachable")
    site.allowance = []
    case.wait_ready()
    assert add(case.service_address()) == 7
    assert site.files["/fraud/7/model.onnx"] == MODEL


def of_another_day(folder: Path, address: str) -> Certificates:
    """A server's certificate that has ended."""
    return certificates(folder, address=address, days=-1)


def of_another_host(folder: Path, _: str) -> Certificates:
    """A good certificate, for somebody else."""
    return certificates(folder, address="192.0.2.1")


def of_an_ended_authority(folder: Path, address: str) -> Certificates:
    """A server's certificate that would hold, by a CA that has ended."""
    authority = Authority(folder, lasts=timedelta(minutes=-1))
    certificate, key = authority.issue(address)
    return Certificates(authority.file, certificate, key)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        pytest.param(of_another_day, "certificate has expired", id="expired"),
        pytest.param(of_an_ended_authority, "certificate has expired", id="expired-CA"),
        pytest.param(of_another_host, "IP address mismatch", id="another-host"),
    ],
)
def test_a_certificate_that_does_not_hold_is_explained(
    case: Case, tmp_path: Path, made: Callable[[Path, str], Certificates], text: str
) -> None:
    with website(case, tmp_path, made(tmp_path, node_address(case))) as site:
        case.apply(deployment(f"https://{site.host}/fraud/7/", secretRef=None))
        case.wait_condition(NAME, "ModelAvailable", "False", "CertificateInvalid", text)
        case.wait_condition(NAME, "Ready", "False", "CertificateInvalid", text)
        assert not site.asked, "nothing was asked of whom nobody trusts"
