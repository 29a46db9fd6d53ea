"""Whose signatures count: a directory with a NAME.pem per signer, each a P-256 public key, a certificate of one, or a CA certificate.

Read anew at each load, so that a withdrawn signer stays out without a restart. A certificate counts from its first day to its last. One
of a signer counts for its key alone; who issued it does not matter, since the cluster pins this very one. One of a CA (basicConstraints)
counts for whomever it issues a certificate for code signing (chain.py), and for no signature of its own key. Called by `guard.py` and
the commands.
"""

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.sealed import chain, spki
from modelward_runtime.store.sealed.chain import Authority, Clock
from modelward_runtime.store.sealed.refusals import refuse
from modelward_runtime.store.sealed.signature import Key, Trust, fingerprint

_MOST_BYTES = 65_536  # of a PEM file
_POINT_BYTES: Final = 64  # at the end of a P-256 SubjectPublicKeyInfo; what is before them is the same in all
NOT_PERMITTED: Final = "trustedSigners of the ModelPolicies over this namespace do not name it"
log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


def load_trust(directory: Path, clock: Clock = _now) -> Trust:
    """The key or CA of every NAME.pem by name, but of certificates that are not valid now.

    LoadError ConfigInvalid when one is no P-256 public key or certificate or there is none, SignerUntrusted when every certificate has
    expired.
    """
    try:
        files = sorted(file for file in directory.iterdir() if file.suffix == ".pem" and not file.name.startswith("."))
    except OSError as error:
        raise _invalid(f"the directory of trusted signers {directory} cannot be read: {error.strerror}") from None
    if not files:
        raise _invalid(
            f"{directory} holds no NAME.pem, so that no signature could ever count: put a signer's public key there"
        )
    trust: dict[str, Key | Authority] = {}
    refused: list[LoadError] = []
    for file in files:
        try:
            trust[file.stem] = read_trusted(file, clock)
        except LoadError as error:
            if error.reason is not LoadReason.SIGNER_UNTRUSTED:
                raise
            log.warning("%s", error.message)
            refused.append(error)
    if not trust:
        raise refused[0]
    return trust


def permit(trust: Trust, signers: Collection[str]) -> Trust:
    """Those of the trusted keys and CAs whose fingerprints the policies of the cluster permit; LoadError SignerUntrusted when none is.

    The directory is the users', and may have been exchanged after the operator compared it: what counts is compared here.
    """
    permitted = {name: key for name, key in trust.items() if fingerprint(key) in signers}
    for name in sorted(trust.keys() - permitted.keys()):
        log.warning("the trusted signer %s (%s) does not count: %s", name, fingerprint(trust[name]), NOT_PERMITTED)
    if not permitted:
        raise refuse(LoadReason.SIGNER_UNTRUSTED, "no key in security.verification.trust counts")
    return permitted


def read_trusted(file: Path, clock: Clock = _now) -> Key | Authority:
    """Whom a PEM file trusts: a P-256 public key, bare or in a certificate, or a CA.

    LoadError ConfigInvalid when it is neither, SignerUntrusted outside a certificate's dates.
    """
    try:
        with file.open("rb") as source:
            content = source.read(_MOST_BYTES)
    except OSError as error:
        raise _invalid(f"the public key {file} cannot be read: {error.strerror}") from None
    try:
        if b"-----BEGIN CERTIFICATE-----" in content:
            return _of_certificate(file, content, clock)
        return _p256(file, spki.read_pem(content) or _read_any(content))
    except (ValueError, UnsupportedAlgorithm):
        raise _invalid(
            f"{file} is no public key in PEM form (-----BEGIN PUBLIC KEY-----), and no certificate of one"
        ) from None


def _of_certificate(file: Path, content: bytes, clock: Clock) -> Key | Authority:
    """The key of the one certificate in the file, or the CA that it is.

    The operator reads the same file without a parser of certificates, by looking for the key's bytes: they must stand there once.
    """
    from cryptography import x509  # noqa: PLC0415  slow to import, and rarely needed
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415  as above

    certificates = chain.whole(lambda: x509.load_pem_x509_certificates(content))
    if len(certificates) != 1 or b"-----BEGIN PUBLIC KEY-----" in content:
        raise _invalid(f"{file} holds more than one certificate or key: trust one signer a file")
    certificate, now = certificates[0], clock()
    key = _p256(file, certificate.public_key())
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whole = certificate.public_bytes(Encoding.DER)
    if der not in whole or whole.count(der[:-_POINT_BYTES]) != 1:
        raise _invalid(f"{file} is a certificate that spells its key in an unusual way: trust the bare public key")
    is_authority = chain.is_authority(certificate)
    if is_authority and (why := chain.may_issue(certificate)):
        raise _invalid(f"{file} is the certificate of a CA that {why}")
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= now <= last:
        when = (
            f"expired on {last:%Y-%m-%d %H:%M} UTC" if now > last else f"is not valid before {first:%Y-%m-%d %H:%M} UTC"
        )
        raise refuse(
            LoadReason.SIGNER_UNTRUSTED,
            f"the certificate of the trusted signer {file.stem} {when}: renew it in the trust",
        )
    return Authority(certificate, key, clock) if is_authority else key


def _p256(file: Path, key: object) -> Key:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _invalid(f"{file} is no key of the curve P-256: make one with `modelward keygen signing`")
    return key


def _read_any(content: bytes) -> object:
    """Any public key, spelt in any way. A large import, which the usual key does without."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    return load_pem_public_key(content)


def _invalid(message: str) -> LoadError:
    return refuse(LoadReason.CONFIG_INVALID, message)
