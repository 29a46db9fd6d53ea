"""What the runtime reports of signature and key, the operator tells in the status; and both give a public key the same fingerprint."""

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from modelward_operator.policies.governance.publickey import fingerprint
from modelward_operator.status.diagnose import _IN_PROGRESS
from modelward_operator.status.reported import Seal, loaded_model, seal_of
from modelward_runtime.config import parse_boot
from modelward_runtime.report import Report, State
from modelward_runtime.store.sealed import signature
from modelward_runtime.store.sealed.trust import load_trust
from tests import certificates
from tests.certificates import FIRST, ca, certificate, issue
from tests.public_keys import ALICE, BOB
from tests.sealed_folders import signing_key

BOOT = {
    "apiVersion": "runtime/v1",
    "kind": "Boot",
    "model": {"name": "fraud", "version": "7", "uri": "s3://models/fraud/7/"},
}


def reported(**facts: object) -> dict[str, object]:
    """Return the body of GET /report with these facts."""
    report = Report(parse_boot(json.dumps(BOOT).encode()), "b", wall=lambda: 1_764_000_000.25, state=State.READY)
    for name, value in facts.items():
        setattr(report, name, value)
    return dict(json.loads(report.to_json()))


def test_a_sealed_models_report_is_the_status() -> None:
    signer = {"name": "ci", "fingerprint": fingerprint(ALICE)}
    report = reported(
        digest="sha256:" + "ab" * 32,
        size=7,
        signer=signer,
        verified_time=1_764_000_000.25,
        encrypted=True,
        key_id="fraud-2026",
        key_version="9f86d081",
    )
    expected = {
        "digest": "sha256:" + "ab" * 32,
        "shortDigest": "ab" * 6,
        "version": "7",
        "sizeBytes": 7,
        "signer": "ci",
        "signerFingerprint": fingerprint(ALICE),
        "keyId": "fraud-2026",
        "keyVersion": "9f86d081",
        "verifiedTime": "2025-11-24T16:00:00Z",
        "encrypted": True,
    }
    assert expected == loaded_model(report)


def test_a_warning_comes_through_and_a_plain_model_claims_nothing() -> None:
    assert seal_of(reported(verification_warning="SignatureMissing: none")) == Seal(warning="SignatureMissing: none")
    assert seal_of(reported()) == Seal()


def test_a_key_has_one_fingerprint() -> None:
    for pem in (ALICE, BOB):
        key = load_pem_public_key(pem.encode())
        assert isinstance(key, EllipticCurvePublicKey)
        assert signature.fingerprint(key) == fingerprint(pem)


def test_a_certificate_has_the_fingerprint_of_its_key_on_both_sides(tmp_path: Path) -> None:
    (tmp_path / "ci.pem").write_bytes(certificate("ci"))
    (key,) = load_trust(tmp_path, lambda: FIRST).values()
    assert signature.fingerprint(key) == fingerprint(certificate("ci").decode())


def test_a_ca_has_the_fingerprint_of_its_key_on_both_sides(tmp_path: Path) -> None:
    content = certificates.pem(issue(ca("between"), ca("root")))
    (tmp_path / "corp.pem").write_bytes(content)
    (authority,) = load_trust(tmp_path, lambda: FIRST).values()
    assert signature.fingerprint(signing_key("between").public_key()) == signature.fingerprint(authority)
    assert signature.fingerprint(authority) == fingerprint(content.decode())


def test_a_certificate_that_hides_another_key_has_no_fingerprint() -> None:
    decoy = signing_key("decoy").public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert fingerprint(certificate("ci", extension=decoy).decode()) == ""
    assert fingerprint(certificate("ci").decode() + ALICE) == ""


def test_the_operator_waits_in_the_states_that_the_runtime_reports() -> None:
    assert {str(state) for state in State} == _IN_PROGRESS.keys() | {"Ready", "Failed"}
