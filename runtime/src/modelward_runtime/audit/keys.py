"""The keys of the audit log: Ed25519 signs checkpoints, a secret of any form hashes inputs.

Read by `recording.py` from mounted Secrets, and by the commands. LoadError PolicyUnsatisfiable when a file is not what it must be.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from modelward_runtime.errors import unsatisfiable
from modelward_runtime.hmackey import KeyUnusable, read_key

_CONTEXT: Final = b"modelward.audit/v1 checkpoint\n"  # so that the key's signatures mean nothing anywhere else


@dataclass(frozen=True)
class SigningKey:
    """The private key, and the fingerprint of its public one."""

    private: Ed25519PrivateKey
    fingerprint: str

    def sign(self, digest: bytes) -> str:
        """The signature of a record's hash, in hex."""
        return self.private.sign(_CONTEXT + digest).hex()


def load_signing_key(file: Path) -> SigningKey:
    """The Ed25519 private key in a PEM file."""
    try:
        key = load_pem_private_key(_read(file), None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise unsatisfiable(f"audit.signingKeyFile {file} is no private key in PEM form without a password") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise unsatisfiable(f"audit.signingKeyFile {file} is no Ed25519 key: make one with `modelward keygen audit`")
    return SigningKey(key, fingerprint(key.public_key()))


def load_input_key(file: Path) -> bytes:
    """The key for HMACs of inputs: the file's bytes."""
    try:
        return read_key(file)
    except KeyUnusable as error:
        raise unsatisfiable(f"audit.inputHashKeyFile: {error}") from None


def load_trusted(file: Path) -> Ed25519PublicKey:
    """The public key of `--trust`; ValueError or OSError when it is none."""
    try:
        key = load_pem_public_key(file.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(f"{file} is no public key in PEM form") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{file} is no Ed25519 key, which signs audit logs")  # noqa: TRY004  the file's content is wrong
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """`sha256:<hex>` of the key's SubjectPublicKeyInfo."""
    return f"sha256:{hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()}"


def is_signed(key: Ed25519PublicKey, digest: bytes, signature: bytes) -> bool:
    """Whether this key has signed a record with this hash as a checkpoint."""
    try:
        key.verify(signature, _CONTEXT + digest)
    except InvalidSignature:
        return False
    return True


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise unsatisfiable(f"audit.signingKeyFile {file}: {error.strerror}") from error
