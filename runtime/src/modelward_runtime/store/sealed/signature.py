"""OpenSSF Model Signing (OMS) bundles in key mode, ECDSA P-256 with SHA-256: written, and verified by a small strict reader.

`opening.py` verifies with it, `writing.py` signs. The `model-signing` tool accepts what this writes, and this accepts what the tool
writes for a plain folder. It must not read files: names and digests are handed to it.

    bundle    {"mediaType","verificationMaterial":{"publicKey":{"hint"},"tlogEntries":[]},"dsseEnvelope":{…}}   one spelling, see `_write`
    envelope  DSSE: the signature is over PAE(payloadType, payload)
    payload   an in-toto statement v1: one subject (a digest over all digests), the predicate names each file and its SHA-256

The bundle proves nothing about its own bytes: JSON, base64 and DER could be spelt otherwise. So it is written again from what was
understood and compared. The payload needs no such rule, since the signature is over its bytes.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from modelward_runtime.errors import LoadReason
from modelward_runtime.store.sealed import spki
from modelward_runtime.store.sealed.refusals import refuse, signature_invalid

MOST_BYTES: Final = 16 << 20
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256

Hex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Trust = Mapping[str, ec.EllipticCurvePublicKey]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What every record of the bundle has in common."""


class _PublicKey(_Strict, frozen=True):
    hint: Hex


class _Material(_Strict, frozen=True):
    public_key: _PublicKey
    tlog_entries: Annotated[list[str], msgspec.Meta(max_length=0)]


class _Signature(_Strict, frozen=True):
    sig: str
    keyid: Literal[""]


class _Envelope(_Strict, frozen=True):
    payload: str
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: Annotated[list[_Signature], msgspec.Meta(min_length=1, max_length=1)]


class _Bundle(_Strict, frozen=True):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: _Material
    dsse_envelope: _Envelope


class _Digest(_Strict, frozen=True):
    sha256: Hex


class _Subject(_Strict, frozen=True):
    digest: _Digest
    name: str = ""


class _Serialization(_Strict, frozen=True, rename=None):
    method: Literal["files"]
    hash_type: Literal["sha256"]
    allow_symlinks: Literal[False]
    ignore_paths: list[str] = []


class _Resource(_Strict, frozen=True):
    name: str
    digest: Hex
    algorithm: Literal["sha256"]


class _Predicate(_Strict, frozen=True):
    serialization: _Serialization
    resources: list[_Resource]


class _Statement(_Strict, frozen=True):
    kind: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type")
    subject: Annotated[list[_Subject], msgspec.Meta(min_length=1, max_length=1)]
    predicate_type: Literal["https://model_signing/signature/v1.0"]
    predicate: _Predicate


class _Verification(ec.ECDSA):
    """ECDSA with SHA-256, to verify. The constructor of `ECDSA` imports much to learn whether signing can be deterministic."""

    def __init__(self) -> None:
        """Nothing to ask."""

    @property
    def algorithm(self) -> hashes.SHA256:
        """The hash."""
        return hashes.SHA256()

    @property
    def deterministic_signing(self) -> bool:
        """Of no use to a verifier."""
        return False


class Signer(msgspec.Struct, frozen=True):
    """Who signed: the name under which the key is trusted, and `sha256:<hex>` of its DER SubjectPublicKeyInfo."""

    name: str
    fingerprint: str


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """`sha256:<hex>` of the key, the same for every spelling of its PEM file."""
    return f"sha256:{hashlib.sha256(spki.der(key)).hexdigest()}"


def sign(
    key: ec.EllipticCurvePrivateKey, files: Mapping[str, str], subject: str, ignored: tuple[str, ...] = ()
) -> bytes:
    """The bundle over these files (path -> hex SHA-256). `ignored` is what the model-signing tool is told to leave out."""
    payload = json.dumps(_statement(files, subject, ignored), separators=(",", ":")).encode()
    r, s = decode_dss_signature(key.sign(_pae(payload), ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return _write(_hint(key.public_key()), payload, encode_dss_signature(r, min(s, _ORDER - s)))


def verify(content: bytes, trust: Trust, name: str, *, low_s: bool) -> tuple[Signer, Mapping[str, str]]:
    """Who signed, and which files (path -> hex SHA-256); LoadError SignatureInvalid or SignerUntrusted.

    `low_s` demands the one of the two equivalent signatures that `sign` writes; the model-signing tool writes either.
    """
    hint, payload, signature = _read(content, name)
    signer = next((known for known in sorted(trust) if _hint(trust[known]) == hint), None)
    if signer is None:
        raise refuse(LoadReason.SIGNER_UNTRUSTED, _untrusted(name, hint, trust))
    _check_form(signature, name, low_s=low_s)
    try:
        trust[signer].verify(signature, _pae(payload), _Verification())
    except InvalidSignature:
        raise signature_invalid(f"{name} is not a signature of {signer}'s key: it was changed after signing") from None
    return Signer(signer, fingerprint(trust[signer])), _files(payload, name)


def _statement(files: Mapping[str, str], subject: str, ignored: tuple[str, ...]) -> dict[str, Any]:
    names = sorted(files, key=lambda path: path.split("/"))  # the order of the model-signing library
    serialization: dict[str, Any] = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    if ignored:
        serialization["ignore_paths"] = list(ignored)
    return {
        "_type": _STATEMENT_TYPE,
        "subject": [{"name": subject, "digest": {"sha256": _root([files[path] for path in names])}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {
            "serialization": serialization,
            "resources": [{"name": path, "digest": files[path], "algorithm": "sha256"} for path in names],
        },
    }


def _root(digests: list[str]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    """How the model-signing library names a key: SHA-256 of its PEM text."""
    return hashlib.sha256(spki.pem(key)).hexdigest()


def _write(hint: str, payload: bytes, signature: bytes) -> bytes:
    """The one spelling of a bundle, which is also the tool's."""
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": _PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    bundle = {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }
    return json.dumps(bundle, separators=(",", ":")).encode()


def _read(content: bytes, name: str) -> tuple[str, bytes, bytes]:
    """Hint, payload and signature of a bundle in its one spelling."""
    try:
        bundle = msgspec.json.decode(content, type=_Bundle)
        payload = base64.b64decode(bundle.dsse_envelope.payload, validate=True)
        signature = base64.b64decode(bundle.dsse_envelope.signatures[0].sig, validate=True)
    except (msgspec.DecodeError, RecursionError, binascii.Error, ValueError) as error:
        raise signature_invalid(f"{name} is no model-signing bundle with a public key's hint: {error}") from None
    hint = bundle.verification_material.public_key.hint
    if _write(hint, payload, signature) != content:
        raise signature_invalid(f"{name} is not in canonical form: it was changed after signing")
    return hint, payload, signature


def _check_form(signature: bytes, name: str, *, low_s: bool) -> None:
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        raise signature_invalid(f"{name} holds no ECDSA signature") from None
    if encode_dss_signature(r, s) != signature or (low_s and s > _ORDER // 2):
        raise signature_invalid(
            f"{name} is not in canonical form: its ECDSA signature is spelt in another way (DER, or high s)"
        )


def _files(payload: bytes, name: str) -> Mapping[str, str]:
    """Path and hex SHA-256 of every file in a signed statement."""
    try:
        parsed = json.loads(payload, object_pairs_hook=_once)
        statement = msgspec.convert(parsed, type=_Statement)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise signature_invalid(
            f"{name} signs something that is not understood: {error}. Sign files with SHA-256, as `model_signing sign key` does by default"
        ) from None
    resources = statement.predicate.resources
    files = {resource.name: resource.digest for resource in resources}
    if len(files) != len(resources) or _root([r.digest for r in resources]) != statement.subject[0].digest.sha256:
        raise signature_invalid(f"{name} contradicts itself: a file is named twice, or the digest over all is wrong")
    return files


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a JSON key is there twice")
    return found


def _untrusted(name: str, hint: str, trust: Trust) -> str:
    known = ", ".join(f"{known} ({fingerprint(trust[known])[:19]}…)" for known in sorted(trust)) or "nobody"
    return f"{name} was made with a key that is not trusted here (its hint is {hint[:12]}…); trusted: {known}"
