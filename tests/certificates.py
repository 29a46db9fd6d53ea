"""Certificates of signing keys for tests, self-signed, with the dates that a test wants."""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.sealed_folders import signing_key

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
LAST = datetime(2026, 12, 31, tzinfo=UTC)


def certificate(
    signer: str = "ci",
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    extension: bytes = b"",
    first: datetime = FIRST,
    last: datetime = LAST,
) -> bytes:
    """PEM of a certificate for the signing key of that name, or for `key`; `extension` is content that means nothing."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, signer)])
    own = key or signing_key(signer)
    draft = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(own.public_key())
        .serial_number(1)
        .not_valid_before(first)
        .not_valid_after(last)
    )
    if extension:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), extension)
        draft = draft.add_extension(unknown, critical=False)
    return draft.sign(own, hashes.SHA256()).public_bytes(Encoding.PEM)


def days_ago(number: int) -> datetime:
    """For what reads the real clock."""
    return datetime.now(UTC) - timedelta(days=number)
