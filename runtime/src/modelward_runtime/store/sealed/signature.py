"""OpenSSF Model Signing (OMS) signatures, ECDSA P-256 with SHA-256: written, and verified by a small strict reader.

`opening.py` verifies with it, `writing.py` signs. The `model-signing` tool accepts what this writes, and this accepts what the tool
writes for a plain folder. It must not read files: names and digests are handed to it.

    bundle    the file, see bundle.py. In key mode it hints at the key, in certificate mode it holds the signer's chain (chain.py)
    envelope  DSSE: the signature is over PAE(payloadType, payload)
    payload   an in-toto statement v1: one subject (a digest over all digests, and one over the chain), the predicate names each file
              and its SHA-256

The bundle has one spelling, and DER has one; the payload needs no such rule, since the signature is over its bytes. Nothing signs the
chain by itself, and an ECDSA signature in it can be spelt in two ways: so the payload of a sealed folder names its SHA-256.
"""

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
from modelward_runtime.store.sealed import bundle as bundles
from modelward_runtime.store.sealed import chain, spki
from modelward_runtime.store.sealed.bundle import PAYLOAD_TYPE, Bundle, Hex, Strict
from modelward_runtime.store.sealed.chain import Authority
from modelward_runtime.store.sealed.refusals import refuse, signature_invalid

MOST_BYTES: Final = 16 << 20
_STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
_CHAIN: Final = "modelward.dev/certificates"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256

Key = ec.EllipticCurvePublicKey
Trust = Mapping[str, Key | Authority]


class _Digest(Strict, frozen=True):
    sha256: Hex


class _Annotations(Strict, frozen=True):
    certificates: Hex = msgspec.field(name=_CHAIN)


class _Subject(Strict, frozen=True):
    digest: _Digest
    name: str = ""
    annotations: _Annotations | None = None


class _Serialization(Strict, frozen=True, rename=None):
    method: Literal["files"]
    hash_type: Literal["sha256"]
    allow_symlinks: Literal[False]
    ignore_paths: list[str] = msgspec.field(default_factory=list)


class _Resource(Strict, frozen=True):
    name: str
    digest: Hex
    algorithm: Literal["sha256"]


class _Predicate(Strict, frozen=True):
    serialization: _Serialization
    resources: list[_Resource]


class _Statement(Strict, frozen=True):
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
    """Who signed: the name in the trust, and `sha256:<hex>` of the signing key's DER SubjectPublicKeyInfo.

    `authority`: the same of the trusted CA's key, where the key itself is not in the trust; empty else.
    """

    name: str
    fingerprint: str
    authority: str = ""

    def told(self) -> dict[str, str]:
        """As reports and commands say it."""
        told = {"name": self.name, "fingerprint": self.fingerprint}
        return told | {"authority": self.authority} if self.authority else told


def fingerprint(trusted: Key | Authority) -> str:
    """`sha256:<hex>` of a key, or of a CA's key: the same for every spelling of its PEM file."""
    key = trusted.key if isinstance(trusted, Authority) else trusted
    return f"sha256:{hashlib.sha256(spki.der(key)).hexdigest()}"


def sign(
    key: ec.EllipticCurvePrivateKey,
    files: Mapping[str, str],
    subject: str,
    ignored: tuple[str, ...] = (),
    certificates: tuple[bytes, ...] = (),
) -> bytes:
    """The bundle over these files (path -> hex SHA-256). `ignored` is what the model-signing tool is told to leave out.

    `certificates` in DER, the key's own first, make it one in certificate mode.
    """
    payload = json.dumps(_statement(files, subject, ignored, certificates), separators=(",", ":")).encode()
    r, s = decode_dss_signature(key.sign(_pae(payload), ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    signature = encode_dss_signature(r, min(s, _ORDER - s))
    return bundles.write(Bundle(_hint(key.public_key()), certificates, payload, signature))


def verify(content: bytes, trust: Trust, name: str, *, low_s: bool) -> tuple[Signer, Mapping[str, str]]:
    """Who signed, and which files (path -> hex SHA-256); LoadError SignatureInvalid or SignerUntrusted.

    `low_s` demands what `sign` writes, the one of the two equivalent signatures and a payload that names the chain; the model-signing
    tool writes either, and names none.
    """
    bundle = bundles.read(content, name)
    signer, key = _by_chain(bundle, trust, name) if bundle.certificates else _by_hint(bundle, trust, name)
    _check_form(bundle.signature, name, low_s=low_s)
    try:
        key.verify(bundle.signature, _pae(bundle.payload), _Verification())
    except InvalidSignature:
        raise signature_invalid(
            f"{name} is not a signature of {signer.name}'s key: it was changed after signing"
        ) from None
    return signer, _files(bundle, name, is_bound=low_s)


def _by_hint(bundle: Bundle, trust: Trust, name: str) -> tuple[Signer, Key]:
    """The trusted key that a bundle in key mode hints at. The hint proves nothing by itself."""
    for known, trusted in sorted(trust.items(), key=lambda item: item[0]):
        if not isinstance(trusted, Authority) and _hint(trusted) == bundle.hint:
            return Signer(known, fingerprint(trusted)), trusted
    raise refuse(LoadReason.SIGNER_UNTRUSTED, _untrusted(name, bundle.hint, trust))


def _by_chain(bundle: Bundle, trust: Trust, name: str) -> tuple[Signer, Key]:
    """The key of the chain's leaf: trusted as such, whatever its certificate says, or by a CA of the trust."""
    certificates = chain.read(bundle.certificates, name)
    key = chain.leaf_key(certificates, name)
    authorities = {known: trusted for known, trusted in trust.items() if isinstance(trusted, Authority)}
    for known in sorted(trust.keys() - authorities.keys()):
        if fingerprint(trust[known]) == fingerprint(key):
            return Signer(known, fingerprint(key)), key
    known = chain.find_authority(certificates, authorities, name)
    return Signer(known, fingerprint(key), fingerprint(authorities[known])), key


def _statement(
    files: Mapping[str, str], subject: str, ignored: tuple[str, ...], certificates: tuple[bytes, ...]
) -> dict[str, Any]:
    names = sorted(files, key=lambda path: path.split("/"))  # the order of the model-signing library
    serialization: dict[str, Any] = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
    if ignored:
        serialization["ignore_paths"] = list(ignored)
    about: dict[str, Any] = {"name": subject, "digest": {"sha256": _root([files[path] for path in names])}}
    if certificates:
        about["annotations"] = {_CHAIN: _chain_digest(certificates)}
    return {
        "_type": _STATEMENT_TYPE,
        "subject": [about],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {
            "serialization": serialization,
            "resources": [{"name": path, "digest": files[path], "algorithm": "sha256"} for path in names],
        },
    }


def _root(digests: list[str]) -> str:
    return hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests)).hexdigest()


def _chain_digest(certificates: tuple[bytes, ...]) -> str:
    return _root([hashlib.sha256(certificate).hexdigest() for certificate in certificates])


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    """How the model-signing library names a key: SHA-256 of its PEM text."""
    return hashlib.sha256(spki.pem(key)).hexdigest()


def _check_form(signature: bytes, name: str, *, low_s: bool) -> None:
    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        raise signature_invalid(f"{name} holds no ECDSA signature") from None
    if encode_dss_signature(r, s) != signature or (low_s and s > _ORDER // 2):
        raise signature_invalid(
            f"{name} is not in canonical form: its ECDSA signature is spelt in another way (DER, or high s)"
        )


def _files(bundle: Bundle, name: str, *, is_bound: bool) -> Mapping[str, str]:
    """Path and hex SHA-256 of every file in a signed statement; `is_bound`: it must name the chain, if there is one."""
    try:
        parsed = json.loads(bundle.payload, object_pairs_hook=_once)
        statement = msgspec.convert(parsed, type=_Statement)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise signature_invalid(
            f"{name} signs something that is not understood: {error}. Sign files with SHA-256, as `model_signing sign key` does by default"
        ) from None
    named = statement.subject[0].annotations
    expected = _chain_digest(bundle.certificates) if bundle.certificates else None
    if (named is None and is_bound and expected) or (named is not None and named.certificates != expected):
        raise signature_invalid(f"{name} was not signed with these certificates: they were changed after signing")
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
