"""A certificate authority of a case's own, for a service that a case runs on the node. Used by `vault.py`, `autoscalers.py`,
`gateway.py` and `webhook.py`."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Makes certificates in `folder`; `file` is what clients trust. Less than nothing for `lasts`: it has ended itself."""

    def __init__(self, folder: Path, lasts: timedelta = timedelta(days=1)) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the cases")])
        self.file = folder / "ca.crt"
        constraint = x509.BasicConstraints(ca=True, path_length=0)
        draft = self._draft(self._name, self._key.public_key(), lasts).add_extension(constraint, critical=True)
        self.file.write_bytes(draft.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, address: str) -> tuple[Path, Path]:
        """Return the files of a certificate and its key for a server at an IP address."""
        return self._issue(address, x509.IPAddress(ipaddress.ip_address(address)))

    def issue_for(self, hostname: str) -> tuple[Path, Path]:
        """Return the same for a server with a name, or with every name of a wildcard."""
        return self._issue(hostname, x509.DNSName(hostname))

    def _issue(self, common: str, subject: x509.GeneralName) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        alternative = x509.SubjectAlternativeName([subject])
        draft = self._draft(name, key.public_key()).add_extension(alternative, critical=False)
        certificate_file, key_file = self._folder / "server.crt", self._folder / "server.key"
        signed = draft.sign(self._key, hashes.SHA256())
        certificate_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate_file, key_file

    def _draft(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, lasts: timedelta = timedelta(days=1)
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + lasts)
        )
