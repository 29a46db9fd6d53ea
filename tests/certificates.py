"""Certificates of signing keys for tests, self-signed or of a CA, with the dates and flaws that a test wants."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

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


USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True)
class Draft:
    """A certificate to be issued: as a signer's or a CA's should be, but for what a test sets. None leaves an extension out."""

    name: str
    is_ca: bool | None = False
    path_length: int | None = None
    usage: str | None = "digital_signature"
    purposes: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CODE_SIGNING,)
    critical: bytes = b""
    first: datetime = FIRST
    last: datetime = LAST
    key: ec.EllipticCurvePrivateKey = field(kw_only=True)

    @property
    def subject(self) -> x509.Name:
        """Its name as X.509 has it."""
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])


def ca(name: str, **changes: Any) -> Draft:
    """A CA's draft, with the key of that name."""
    usual: dict[str, Any] = {"is_ca": True, "usage": "key_cert_sign", "purposes": None, "key": signing_key(name)}
    return Draft(name, **usual | changes)


def leaf(name: str = "ci", **changes: Any) -> Draft:
    """A signer's draft, with the key of that name."""
    usual: dict[str, Any] = {"key": signing_key(name)}
    return Draft(name, **usual | changes)


def issue(draft: Draft, issuer: Draft | None = None) -> x509.Certificate:
    """The certificate of a draft by another one's key; without an issuer, by its own."""
    by = issuer or draft
    made = (
        x509.CertificateBuilder()
        .subject_name(draft.subject)
        .issuer_name(by.subject)
        .public_key(draft.key.public_key())
        .serial_number(7)
        .not_valid_before(draft.first)
        .not_valid_after(draft.last)
    )
    if draft.is_ca is not None:
        made = made.add_extension(x509.BasicConstraints(draft.is_ca, draft.path_length), critical=True)
    if draft.usage is not None:
        made = made.add_extension(x509.KeyUsage(**{one: one == draft.usage for one in USAGES}), critical=True)
    if draft.purposes is not None:
        made = made.add_extension(x509.ExtendedKeyUsage(draft.purposes), critical=False)
    if draft.critical:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), draft.critical)
        made = made.add_extension(unknown, critical=True)
    return made.sign(by.key, hashes.SHA256(), ecdsa_deterministic=True)


def pem(*certificates: x509.Certificate) -> bytes:
    """Their PEM text, one after the other."""
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def days_ago(number: int) -> datetime:
    """For what reads the real clock."""
    return datetime.now(UTC) - timedelta(days=number)
