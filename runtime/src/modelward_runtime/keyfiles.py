"""Key files on a person's disk: `modelward keygen` makes them, the other sealing commands read them.

A private file is made with mode 0600 and never over another. In a cluster keys come from Secrets and providers instead.
"""

import argparse
import base64
import importlib
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from modelward_runtime.audit.keys import fingerprint as audit_fingerprint
from modelward_runtime.errors import LoadReason
from modelward_runtime.saying import FAILED, complain, say
from modelward_runtime.store.kek import KeyEncryptionKey
from modelward_runtime.store.kek.secret import KEY_SIZE, SecretFile, key_version
from modelward_runtime.store.sealed import chain
from modelward_runtime.store.sealed.refusals import refuse
from modelward_runtime.store.sealed.signature import Key, fingerprint
from modelward_runtime.store.sealed.trust import load_trust, read_trusted


def keygen(arguments: argparse.Namespace) -> int:
    """Make a key file."""
    make = {"kek": _make_kek, "signing": _make_signing, "audit": _make_audit}[arguments.kind]
    try:
        told = make(arguments.out)
    except OSError as error:
        return complain(arguments, error, FAILED)
    say(arguments, {"kind": arguments.kind, **told}, "\n".join(f"{key}: {value}" for key, value in told.items()))
    return 0


def open_kek(place: str, kek_id: str = "") -> KeyEncryptionKey:
    """What `--kek` names: a key file, or a key in a service, by its scheme; LoadError ConfigInvalid when it has another id."""
    scheme, _, rest = place.partition(":")
    if scheme not in _SERVICES:
        return SecretFile(Path(place), kek_id)
    key: KeyEncryptionKey = importlib.import_module(_SERVICES[scheme]).named(rest)
    if kek_id not in {"", key.kek_id}:
        raise refuse(LoadReason.CONFIG_INVALID, f"the id of {place} is {key.kek_id}, and not {kek_id}")
    return key


_SERVICES: Final[Mapping[str, str]] = {
    "vault": "modelward_runtime.store.kek.vault",  # vault:https://HOST:PORT/MOUNT/KEY
    "awskms": "modelward_runtime.store.kek.awskms",  # awskms:ARN
}


def load_signing_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """The P-256 private key in a PEM file; LoadError ConfigInvalid, or OSError."""
    try:
        key = load_pem_private_key(file.read_bytes(), None)
    except TypeError:
        raise refuse(
            LoadReason.CONFIG_INVALID, f"{file} is protected by a password; give a key file that is not"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise refuse(LoadReason.CONFIG_INVALID, f"{file} is no private key in PEM form") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise refuse(LoadReason.CONFIG_INVALID, f"{file} is no P-256 key: make one with `modelward keygen signing`")
    return key


def load_identity(arguments: argparse.Namespace) -> tuple[ec.EllipticCurvePrivateKey, tuple[bytes, ...]]:
    """The key of `--sign-key`, and the chain of `--certificate` and `--chain` in DER, which must be such that others can trust it.

    LoadError ConfigInvalid or SignerUntrusted, or OSError.
    """
    key = load_signing_key(arguments.sign_key)
    if not arguments.certificate:
        if arguments.chain:
            raise refuse(LoadReason.CONFIG_INVALID, "--chain is of the certificate's issuers: give --certificate too")
        return key, ()
    files = [arguments.certificate, *arguments.chain]
    certificates = [one for file in files for one in _certificates(file)]
    if chain.leaf_key(certificates, str(arguments.certificate)) != key.public_key():
        raise refuse(
            LoadReason.CONFIG_INVALID, f"{arguments.certificate} is not the certificate of {arguments.sign_key}"
        )
    chain.check(certificates, datetime.now(UTC), "--certificate")
    return key, tuple(one.public_bytes(Encoding.DER) for one in certificates)


def _certificates(file: Path) -> list[x509.Certificate]:
    try:
        return chain.whole(lambda: x509.load_pem_x509_certificates(file.read_bytes()))
    except ValueError:
        raise refuse(LoadReason.CONFIG_INVALID, f"{file} is no certificate in PEM form") from None


def load_trusted(paths: Sequence[Path]) -> dict[str, Key | chain.Authority]:
    """Whom `--trust` names: PEM files of keys or certificates, each under its own name, or directories of them."""
    found: dict[str, Key | chain.Authority] = {}
    for path in paths:
        if path.is_dir():
            found.update(load_trust(path))
        else:
            found[path.name.removesuffix(".pem").removesuffix(".pub")] = read_trusted(path)
    return found


def _make_kek(file: Path) -> dict[str, str]:
    key = secrets.token_bytes(KEY_SIZE)
    _write(file, base64.b64encode(key) + b"\n")
    return {"file": str(file), "version": key_version(key)}


def _make_signing(file: Path) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    return {**_write_pair(file, key), "fingerprint": fingerprint(key.public_key())}


def _make_audit(file: Path) -> dict[str, str]:
    key = ed25519.Ed25519PrivateKey.generate()
    return {**_write_pair(file, key), "fingerprint": audit_fingerprint(key.public_key())}


def _write_pair(file: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> dict[str, str]:
    public = file.with_name(file.name.removesuffix(".pem") + ".pub.pem")
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if os.path.lexists(public):
        raise FileExistsError(17, "there is a key already; it is not overwritten", str(public))
    _write(file, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        _write(public, pem, 0o644)
    except BaseException:
        file.unlink()  # nobody could tell whose signatures to trust
        raise
    return {"file": str(file), "public": str(public)}


def _write(file: Path, content: bytes, mode: int = 0o600) -> None:
    """A new file, whole and on the disk, or none; unless `mode` says otherwise its owner's alone."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise FileExistsError(17, "there is a key already; it is not overwritten", str(file)) from None
    try:
        with os.fdopen(descriptor, "wb") as target:
            target.write(content)
            target.flush()
            os.fsync(descriptor)
    except BaseException as error:
        file.unlink()
        if isinstance(error, OSError):
            error.filename = str(file)  # a write knows its descriptor alone
        raise
