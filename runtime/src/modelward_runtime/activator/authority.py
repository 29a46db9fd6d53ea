"""Makes the certificates that the activator shows for models, in memory, from a CA that the operator mounts for it.

Asked by `ports.py` at handshakes. The CA (`modelward-activator-ca`) is not the pods': it is bound to `.svc` names by name constraints, and
only the clients' bundles of models that may be at zero hold it. One key serves all leaves of the process and is written nowhere. The
directory is looked at again, so that a new CA is taken without a restart.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from modelward_runtime.access.certificate import Pair, Unusable, read_pair

LASTS: Final = timedelta(hours=24)
_RENEWED: Final = 2 / 3  # of its life
_BACKDATED: Final = timedelta(minutes=5)
_LOOKED_AT: Final = 5.0  # seconds between two looks at the directory
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Signer:
    """The CA in use."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


class Authority:
    """Leaves by their names. It may be asked on any thread: gRPC's handshakes are on threads of its own."""

    def __init__(
        self, directory: Path, wall: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._directory = directory
        self._wall, self._clock = wall, clock
        self._lock = threading.Lock()
        self._looked = float("-inf")
        self._chain = b""
        self._signer: Signer | None = None
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaves: dict[tuple[str, ...], tuple[Pair, float]] = {}

    def leaf(self, dns_names: Sequence[str]) -> Pair:
        """A certificate for these names that is good for hours. Raises `Unusable` while there is no CA."""
        names = tuple(dns_names)
        with self._lock:
            signer = self._look()
            now = self._wall()
            kept = self._leaves.get(names)
            if kept is None or now >= kept[1]:
                pair = self._sign(names, signer, datetime.fromtimestamp(now, UTC))
                kept = self._leaves[names] = pair, now + (pair.not_after - now) * _RENEWED
            return kept[0]

    def _look(self) -> Signer:
        """The CA as it is mounted now; the last good one where what is mounted is not usable."""
        now = self._clock()
        if self._signer is None or now - self._looked >= _LOOKED_AT:
            self._looked = now
            try:
                self._take(read_pair(self._directory))
            except Unusable as error:
                if self._signer is None:
                    raise
                log.error("the activator's CA is not usable, the last one is", extra={"cause": str(error)})  # noqa: TRY400
        if self._signer is None:
            raise Unusable("there is no CA")
        return self._signer

    def _take(self, pair: Pair) -> None:
        if pair.chain == self._chain and self._signer is not None:
            return
        certificate = x509.load_pem_x509_certificates(pair.chain)[0]
        key = load_pem_private_key(pair.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Unusable(f"{self._directory}: the CA's key is not one of an elliptic curve")
        self._chain, self._signer = pair.chain, Signer(certificate, key)
        self._leaves.clear()
        log.info("CA taken", extra=pair.told)

    def _sign(self, names: tuple[str, ...], signer: Signer, now: datetime) -> Pair:
        ends = min(now + LASTS, signer.certificate.not_valid_after_utc)
        if ends <= now:
            raise Unusable("the activator's CA has expired")
        begins = max(now - _BACKDATED, signer.certificate.not_valid_before_utc)
        public = self._key.public_key()
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "modelward-activator")]))
            .issuer_name(signer.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(_issuer_of(signer), critical=False)
            .sign(signer.key, hashes.SHA256())
        )
        private = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        digest = leaf.fingerprint(hashes.SHA256()).hex()
        return Pair(leaf.public_bytes(Encoding.PEM), private, ends.timestamp(), digest)


def _issuer_of(signer: Signer) -> x509.AuthorityKeyIdentifier:
    try:
        known = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)
