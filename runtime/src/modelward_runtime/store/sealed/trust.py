"""Whose signatures count: a directory with a NAME.pem per signer, each the P-256 public key of one.

Read anew at each load, so that a withdrawn signer stays out without a restart. Called by `load.py` and the commands.
"""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from modelward_runtime.errors import LoadReason
from modelward_runtime.store.sealed import spki
from modelward_runtime.store.sealed.refusals import refuse
from modelward_runtime.store.sealed.signature import Trust

_MOST_BYTES = 65_536  # of a PEM file


def load_trust(directory: Path) -> Trust:
    """The key of every NAME.pem by name; LoadError ConfigInvalid when one is no P-256 public key or there is none."""
    try:
        files = sorted(file for file in directory.iterdir() if file.suffix == ".pem" and not file.name.startswith("."))
    except OSError as error:
        raise _invalid(f"the directory of trusted signers {directory} cannot be read: {error.strerror}") from None
    if not files:
        raise _invalid(
            f"{directory} holds no NAME.pem, so that no signature could ever count: put a signer's public key there"
        )
    return {file.stem: load_public_key(file) for file in files}


def load_public_key(file: Path) -> ec.EllipticCurvePublicKey:
    """The P-256 public key in a PEM file; LoadError ConfigInvalid."""
    try:
        with file.open("rb") as source:
            content = source.read(_MOST_BYTES)
        key = spki.read_pem(content) or _read_any(content)
    except OSError as error:
        raise _invalid(f"the public key {file} cannot be read: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _invalid(f"{file} is no public key in PEM form (-----BEGIN PUBLIC KEY-----)") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _invalid(f"{file} is no key of the curve P-256: make one with `modelward keygen signing`")
    return key


def _read_any(content: bytes) -> object:
    """Any public key, spelt in any way. A large import, which the usual key does without."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    return load_pem_public_key(content)


def _invalid(message: str) -> Exception:
    return refuse(LoadReason.CONFIG_INVALID, message)
