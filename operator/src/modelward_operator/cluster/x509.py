"""Certificates of the operator's own CA, on `cryptography`: P-256, ECDSA with SHA-256, what RFC 5280 and current TLS clients ask for.

Called by `authority.py`, by `issuer.py`, and by `gather.py`, for which no record counts that is not true. It keeps nothing; keys are made
here, and are in memory only until they are in a Secret.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SKEW: Final = timedelta(minutes=5)
"""For which a clock may be behind: certificates count from that much earlier on."""
AUTHORITY_LIFE: Final = timedelta(days=1825)
LEAF_LIFE: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, in PEM. Its text is the key's own secret: it is never logged."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return f"Pair({fingerprint(self.certificate)})"


def new_authority(now: datetime, domain: str) -> Pair:
    """Return a CA that signs leaves and no other CA, for Services of the cluster with this domain and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # The name holds the key's own identifier: two CAs with one name would send a client that trusts both down the wrong path.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ModelWard CA {identifier.digest.hex()[:12]}")])
    draft = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_constraints(domain), critical=True)
        .add_extension(identifier, critical=False)
    )
    return Pair(_pem(draft.sign(key, hashes.SHA256())), _key_pem(key))


def new_leaf(authority: Pair, dns_names: Sequence[str], now: datetime) -> Pair:
    """Return a server certificate for these names, signed by `authority`."""
    signer = load_pem_private_key(authority.key.encode(), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("a CA of ours has an elliptic curve's key")
    issuer, key = (
        x509.load_pem_x509_certificate(authority.certificate.encode()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    draft = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))  # names are in the extension, which is critical then (RFC 5280, 4.2.1.6)
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(min(now + LEAF_LIFE, issuer.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in dns_names]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_issuer_identifier(issuer), critical=False)
    )
    return Pair(_pem(draft.sign(signer, hashes.SHA256())), _key_pem(key))


def fingerprint(certificate: str) -> str:
    """Return the SHA-256 of a certificate in PEM, over its DER, in hex."""
    return x509.load_pem_x509_certificate(certificate.encode()).fingerprint(hashes.SHA256()).hex()


def validity(certificate: str) -> tuple[datetime, datetime]:
    """Return from when until when a certificate in PEM counts."""
    parsed = x509.load_pem_x509_certificate(certificate.encode())
    return parsed.not_valid_before_utc, parsed.not_valid_after_utc


def is_bound(certificate: str, domain: str) -> bool:
    """True for a CA that can speak for Services of this domain and for nothing else."""
    return _found_constraints(certificate) == _constraints(domain)


def is_able(certificate: str, domain: str) -> bool:
    """True for a CA whose certificates count for Services of this domain; one that is bound to no domain is able too."""
    return _found_constraints(certificate) in {None, _constraints(domain)}


def is_true(record: Mapping[str, str], bundle: str) -> bool:
    """True for a record (plan/certificate.py) that says of its certificate what stands in it, and which CA of the bundle signed it."""
    try:
        leaf = x509.load_pem_x509_certificate(record["tls.crt"].encode())
        said = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        authorities = x509.load_pem_x509_certificates(bundle.encode())
        (issuer,) = (one for one in authorities if one.fingerprint(hashes.SHA256()).hex() == record["issuer"])
        leaf.verify_directly_issued_by(issuer)
        times = datetime.fromisoformat(record["notBefore"]), datetime.fromisoformat(record["notAfter"])
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    return (
        (_pem(leaf), leaf.fingerprint(hashes.SHA256()).hex()) == (record["tls.crt"], record["sha256"])
        and times == (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
        and said.get_values_for_type(x509.DNSName) == record["dnsNames"].split()
    )


def _constraints(domain: str) -> x509.NameConstraints:
    """Constraints bind only the kinds of names that they mention (RFC 5280, 4.2.1.10), so addresses are excluded by word."""
    every = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
    return x509.NameConstraints(
        permitted_subtrees=[x509.DNSName("svc"), x509.DNSName(f"svc.{domain}")],
        excluded_subtrees=[x509.IPAddress(network) for network in every],
    )


def _found_constraints(certificate: str) -> x509.NameConstraints | None:
    try:
        parsed = x509.load_pem_x509_certificate(certificate.encode())
        return parsed.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def _issuer_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
