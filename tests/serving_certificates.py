"""Certificates for servers on loopback, from a CA of the test's own, and mounted as the kubelet mounts a Secret."""

import hashlib
import ipaddress
import itertools
import os
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_turns = itertools.count(1)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    @property
    def sha256(self) -> str:
        """Of the certificate, in hex."""
        return x509.load_pem_x509_certificate(self.certificate).fingerprint(hashes.SHA256()).hex()


class Authority:
    """A CA."""

    def __init__(self, name: str = "test") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        draft = _draft(self._name, self._name, self._key, timedelta(days=1))
        draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        self._certificate = draft.add_extension(identifier, critical=False).sign(self._key, hashes.SHA256())
        self.pem = self._certificate.public_bytes(Encoding.PEM)

    def issue(self, kind: str = "EC", lasts: timedelta = timedelta(hours=1)) -> Issued:
        """A new key of that kind, good for localhost and 127.0.0.1."""
        key: PrivateKey = (
            ec.generate_private_key(ec.SECP256R1()) if kind == "EC" else rsa.generate_private_key(65537, 2048)
        )
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        draft = _draft(_name("server"), self._name, key, lasts)
        draft = draft.add_extension(x509.SubjectAlternativeName(names), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = draft.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Issued(certificate.public_bytes(Encoding.PEM), private)

    def trust(self) -> ssl.SSLContext:
        """A client's context that trusts this CA alone."""
        return ssl.create_default_context(cadata=self.pem.decode())


def mount(directory: Path, certificate: bytes, key: bytes) -> None:
    """Put the pair where it replaces an older one at one stroke, by the link `..data`."""
    directory.mkdir(parents=True, exist_ok=True)
    turn = directory / f"..turn_{next(_turns)}"
    turn.mkdir()
    (turn / "tls.crt").write_bytes(certificate)
    (turn / "tls.key").write_bytes(key)
    link = directory / "..data_tmp"
    link.symlink_to(turn.name)
    link.rename(directory / "..data")
    for name in ("tls.crt", "tls.key"):
        if not os.path.lexists(directory / name):
            (directory / name).symlink_to(f"..data/{name}")


def shown(port: int, trust: ssl.SSLContext, name: str | None = "localhost") -> str:
    """The SHA-256 of the certificate that a server shows in a new handshake."""

    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        trust.wrap_socket(plain, server_hostname=name) as connection,
    ):
        return hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _draft(subject: x509.Name, issuer: x509.Name, key: PrivateKey, lasts: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + lasts)
    )
