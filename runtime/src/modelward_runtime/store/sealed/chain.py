"""Certificates in a signature: may their leaf sign models, and does it chain to a certificate authority that is trusted here?

`signature.py` asks; `trust.py` makes an `Authority` of each CA certificate that it finds in the trust; `seal` checks with it what it is
about to write. It must not decide whose signature counts without a chain. The import of X.509 is late: signatures in key mode, and
trust in keys, do without.

    leaf ◀── issued by ── intermediate … ◀── issued by ── Authority        all valid now, P-256, ECDSA with SHA-256
    no CA; digitalSignature; codeSigning        a CA; keyCertSign; path length; if limited, for code signing

The checks are those of RFC 5280, section 6, of what such chains use. What is not understood and marked critical, such as name
constraints, is refused. Revocation lists are not read (SECURITY.md): let certificates be short-lived.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.sealed.folder import shown
from modelward_runtime.store.sealed.refusals import refuse, signature_invalid

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, KeyUsage

Clock = Callable[[], datetime]
_LONGEST_NAME: Final = 100  # characters of a subject in a message
_ECDSA_SHA256: Final = "1.2.840.10045.4.3.2"
_CODE_SIGNING: Final = "1.3.6.1.5.5.7.3.3"
_ANY_PURPOSE: Final = "2.5.29.37.0"
_UNDERSTOOD: Final = {
    "2.5.29.19",  # basicConstraints
    "2.5.29.15",  # keyUsage
    "2.5.29.37",  # extKeyUsage
    "2.5.29.17",  # subjectAltName: another name of the signer, of which nothing depends
}


class Authority(msgspec.Struct, frozen=True):
    """A CA certificate in the trust: whom it has issued a certificate for, may sign. `clock` is what it was read by."""

    certificate: "Certificate"
    key: ec.EllipticCurvePublicKey
    clock: Clock


def read(encoded: Sequence[bytes], name: str) -> list["Certificate"]:
    """The certificates of the bundle `name`; LoadError SignatureInvalid when one is none."""
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415  see above

    try:
        return whole(lambda: map(load_der_x509_certificate, encoded))
    except ValueError:
        raise signature_invalid(f"{name} holds something that is no X.509 certificate in DER form") from None


def whole(load: Callable[[], Iterable["Certificate"]]) -> list["Certificate"]:
    """The certificates that `load` gives; ValueError when a part of one cannot be read, which would else come up when it is asked for."""
    from cryptography import x509  # noqa: PLC0415  see above

    try:
        found = list(load())
        for one in found:
            _ = one.subject, one.issuer, one.extensions, one.signature_algorithm_oid
            _ = one.not_valid_before_utc, one.not_valid_after_utc
    except (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from None
    return found


def leaf_key(certificates: Sequence["Certificate"], name: str) -> ec.EllipticCurvePublicKey:
    """The P-256 key of the first certificate; LoadError SignerUntrusted when it has another."""
    key = _key(certificates[0])
    if key is None:
        raise _untrusted(name, certificates[0], "has no key of the curve P-256")
    return key


def find_authority(certificates: Sequence["Certificate"], authorities: Mapping[str, Authority], name: str) -> str:
    """The name of the trusted CA that the chain ends at; LoadError SignerUntrusted says why there is none.

    The chain holds the certificates between the leaf and the CA, each issued by the next; the CA's own may stand at its end.
    """
    for length in range(1, len(certificates) + 1):
        issuer = certificates[length - 1].issuer
        above = {known: one for known, one in authorities.items() if one.certificate.subject == issuer}
        if above:
            return _first_that_holds(certificates, length, above, name)
    last, known = certificates[-1], ", ".join(sorted(authorities)) or "none"
    raise _untrusted(
        name,
        last,
        f"was issued by {_shown(last.issuer.rfc4514_string())}, which is no CA that is trusted here: {known}",
    )


def check(certificates: Sequence["Certificate"], now: datetime, name: str) -> None:
    """What a signer can know of its own chain, before it signs; LoadError SignerUntrusted."""
    _check_path(list(certificates), now, name)


def is_authority(certificate: "Certificate") -> bool:
    """Is it a CA's?"""
    return _extensions(certificate).is_ca


def may_issue(certificate: "Certificate") -> str:
    """Why a CA certificate cannot be trusted to issue; empty when it can."""
    return next(_not_an_issuer(_extensions(certificate), 0), "")


def _first_that_holds(
    certificates: Sequence["Certificate"], length: int, above: Mapping[str, Authority], name: str
) -> str:
    """Of CAs with the same name, as after a renewal, the one whose signature holds."""
    refused: list[LoadError] = []
    for known, authority in sorted(above.items()):
        path, rest = [*certificates[:length], authority.certificate], certificates[length:]
        try:
            _check_path(path, authority.clock(), name)
            if list(rest) not in ([], [authority.certificate]):
                raise _untrusted(name, rest[-1], f"is not needed to reach the trusted CA {known}: leave it out")
        except LoadError as error:
            refused.append(error)
        else:
            return known
    raise refused[0]


def _check_path(path: list["Certificate"], now: datetime, name: str) -> None:
    """Of a leaf and its issuers, in this order."""
    for below, certificate in enumerate(path):
        found = _extensions(certificate)
        wrong = [
            *_not_now(certificate, now),
            *(() if _key(certificate) else ("has no key of the curve P-256",)),
            *(_not_an_issuer(found, below - 1) if below else _not_a_signer(found)),
        ]
        if wrong:
            raise _untrusted(name, certificate, wrong[0])
    for certificate, issuer in pairwise(path):
        if not _is_issued_by(certificate, issuer):
            raise _untrusted(
                name, certificate, f"was not issued by the next one, {_shown(issuer.subject.rfc4514_string())}"
            )


def _is_issued_by(certificate: "Certificate", issuer: "Certificate") -> bool:
    if certificate.signature_algorithm_oid.dotted_string != _ECDSA_SHA256:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _key(certificate: "Certificate") -> ec.EllipticCurvePublicKey | None:
    """Its key, if that is one of P-256."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1) else None


class _Extensions(msgspec.Struct, frozen=True):
    is_ca: bool
    path_length: int | None
    usage: "KeyUsage | None"
    purposes: frozenset[str] | None  # object identifiers
    unknown: tuple[str, ...]  # critical, and not understood


def _extensions(certificate: "Certificate") -> _Extensions:
    from cryptography import x509  # noqa: PLC0415  see above

    found = {one.oid.dotted_string: one for one in certificate.extensions}
    values = {type(one.value): one.value for one in found.values()}
    basic, extended = values.get(x509.BasicConstraints), values.get(x509.ExtendedKeyUsage)
    return _Extensions(
        is_ca=isinstance(basic, x509.BasicConstraints) and basic.ca,
        path_length=basic.path_length if isinstance(basic, x509.BasicConstraints) else None,
        usage=next((value for value in values.values() if isinstance(value, x509.KeyUsage)), None),
        purposes=frozenset(one.dotted_string for one in extended)
        if isinstance(extended, x509.ExtendedKeyUsage)
        else None,
        unknown=tuple(oid for oid, one in found.items() if one.critical and oid not in _UNDERSTOOD),
    )


def _not_now(certificate: "Certificate", now: datetime) -> Iterator[str]:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > last:
        yield f"expired on {last:%Y-%m-%d %H:%M} UTC"
    if now < first:
        yield f"is not valid before {first:%Y-%m-%d %H:%M} UTC"


def _not_a_signer(found: _Extensions) -> Iterator[str]:
    """What keeps a leaf from signing models."""
    yield from _not_understood(found)
    if found.is_ca:
        yield "is a CA's: a CA issues certificates and signs no models"
    if found.usage is None or not found.usage.digital_signature:
        yield "lacks the key usage digitalSignature"
    if found.purposes is None or _CODE_SIGNING not in found.purposes:
        yield "lacks the extended key usage codeSigning"


def _not_an_issuer(found: _Extensions, below: int) -> Iterator[str]:
    """What keeps a certificate from issuing, with so many CAs below it."""
    yield from _not_understood(found)
    if not found.is_ca:
        yield "is no CA's, and issues certificates (basicConstraints)"
    if found.usage is not None and not found.usage.key_cert_sign:
        yield "lacks the key usage keyCertSign, and issues certificates"
    if found.path_length is not None and below > found.path_length:
        yield f"allows {found.path_length} CAs below it, and there are {below} (pathLenConstraint)"
    if found.purposes is not None and not found.purposes & {_CODE_SIGNING, _ANY_PURPOSE}:
        yield "is limited to other purposes than code signing (extendedKeyUsage)"


def _not_understood(found: _Extensions) -> Iterator[str]:
    for oid in found.unknown:
        yield f"has the critical extension {oid}, which is not understood here"


def _untrusted(name: str, certificate: "Certificate", why: str) -> LoadError:
    subject = _shown(certificate.subject.rfc4514_string())
    return refuse(LoadReason.SIGNER_UNTRUSTED, f"{name}: the certificate {subject} {why}")


def _shown(subject: str) -> str:
    """Whoever made the certificate chose it."""
    return shown(subject[:_LONGEST_NAME]) or "without a name"
