"""What must hold before a model is loaded: the `security` section of boot.json, or the flags of `modelward serve`, made to work.

`load.py` asks, in this order:

    verify    the digest; whose signature; is it sealed where it must be, and for this tenant, model and version
    unwrap    the data key (waits for the key service: the only step that is tried again)
    decrypt   ciphertext hashed and decrypted into memory, overlapped; nothing is handed out before both ended

A step takes what the former one has proven, so that none can be left out. It must not fetch, nor know ONNX Runtime. Imports are
late: a plain model without security needs no cryptography.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from modelward_runtime.config import AwsKmsKeys, ModelSource, SecretKeys, Security, VaultKeys, Verification
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.memory import Plaintext
from modelward_runtime.store.found import Fetched
from modelward_runtime.store.locate import choose_model_file
from modelward_runtime.store.verify import compare

if TYPE_CHECKING:
    from modelward_runtime.store.kek import KeyEncryptionKey
    from modelward_runtime.store.sealed.opening import Checked, Unwrapped
    from modelward_runtime.store.sealed.signature import Trust

_SHOWN: Final = 3  # fingerprints of a list in a message


class Guard(msgspec.Struct, frozen=True):
    """What is demanded. Without `kek` the model must be plain; without `verification` nobody has to have signed a plain one."""

    tenant: str = ""
    kek: "Callable[[], KeyEncryptionKey] | None" = None
    verification: Literal["Required", "Warn"] | None = None
    trust: "Callable[[], Trust]" = dict
    signers: frozenset[str] | None = None  # fingerprints that policies of the cluster permit; None: any that is trusted


class Verified(msgspec.Struct, frozen=True):
    """A model whose bytes may be loaded, or decrypted when `sealed`; and what /report tells about it."""

    digest: str
    digest_declared: bool
    signer: Mapping[str, str] | None = None  # name, fingerprint, authority
    time: float = 0.0  # seconds since the epoch, 0 when no signature was verified
    warning: str = ""
    sealed: "Checked | None" = None


def guard_of(security: Security | None) -> Guard:
    """The guard that boot.json asks for."""
    if security is None:
        return Guard()
    _import()
    encryption, verification = security.encryption, security.verification
    return Guard(
        security.tenant,
        None if encryption is None else lambda: _connect(encryption.keys),
        None if verification is None else verification.mode,
        dict if verification is None else lambda: _load_trust(verification),
        None if verification is None else verification.signers,
    )


def _import() -> None:
    """What verification will need, before other threads import too: beside them it would take four times as long."""
    from modelward_runtime.store.sealed import opening, trust  # noqa: F401, PLC0415


def verify(source: ModelSource, fetched: Fetched, guard: Guard, clock: Callable[[], float] = time.time) -> Verified:
    """The proof that these bytes may be used; LoadError of the verify stage says why not."""
    compare(source, fetched.digest)
    if fetched.sealed:
        return _verify_sealed(source, fetched, guard, clock)
    if guard.kek is not None:
        raise _refuse(
            LoadReason.NOT_SEALED,
            f"{source.uri} is a plain model, and security.encryption.mode is Required: seal it with `modelward seal`",
        )
    if guard.verification is None:
        return Verified(fetched.digest, source.digest is not None)
    return _verify_plain(source, fetched, guard, clock)


def unwrap(checked: "Checked", guard: Guard) -> "Unwrapped":
    """The data key; LoadError with a Key… reason, transient when the key service did not answer."""
    from modelward_runtime.store.sealed import opening  # noqa: PLC0415

    if guard.kek is None:
        raise AssertionError("verify refuses a sealed model without keys")
    return opening.unwrap(checked, guard.kek())


def decrypt(source: ModelSource, checked: "Checked", unwrapped: "Unwrapped", threads: int) -> Plaintext:
    """The plaintext, in memory only; LoadError SealInvalid or DecryptionFailed, and then nothing of it is left."""
    from modelward_runtime.store.sealed import opening  # noqa: PLC0415

    plaintext = Plaintext(choose_model_file({file.path for file in checked.manifest.files}, source.uri))
    try:
        opening.decrypt(checked, unwrapped.data_key, threads, plaintext.allocate)
    except BaseException:
        plaintext.wipe()
        raise
    return plaintext


def _verify_sealed(source: ModelSource, fetched: Fetched, guard: Guard, clock: Callable[[], float]) -> Verified:
    from modelward_runtime.store.sealed import opening  # noqa: PLC0415

    if guard.kek is None:
        raise _refuse(
            LoadReason.SEALED_WITHOUT_KEY,
            f"{source.uri} is a sealed model: name its key in security.encryption (`modelward serve`: --kek), and who may have signed it "
            "in security.verification (--trust)",
        )
    with _naming_the_policy(guard):
        expected = opening.Expected(guard.tenant, source.name, source.version, guard.trust())
        checked = opening.check(fetched.file.parent, expected)
    compare(source, checked.digest)  # again: of the very bytes that the signature was verified over
    return Verified(checked.digest, source.digest is not None, checked.signer.told(), clock(), sealed=checked)


def _verify_plain(source: ModelSource, fetched: Fetched, guard: Guard, clock: Callable[[], float]) -> Verified:
    from modelward_runtime.store.sealed import opening  # noqa: PLC0415

    known = Verified(fetched.digest, source.digest is not None)
    try:
        if not fetched.folder:
            raise _refuse(
                LoadReason.SIGNATURE_MISSING,
                f"{source.uri} is a single file, which carries no signature: let the URI name a folder with the model and its model.sig",
            )
        with _naming_the_policy(guard):
            signer = opening.verify_plain(fetched.folder, guard.trust())
    except LoadError as error:
        if guard.verification == "Required" or error.reason is LoadReason.CONFIG_INVALID:
            raise
        return Verified(known.digest, known.digest_declared, warning=f"{error.reason}: {error.message}")
    return Verified(known.digest, known.digest_declared, signer.told(), clock())


@contextlib.contextmanager
def _naming_the_policy(guard: Guard) -> Iterator[None]:
    """Add to a SignerUntrusted that policies bound the trust: who reads it may find the key in the trust, and wonder."""
    try:
        yield
    except LoadError as error:
        if guard.signers is None or error.reason is not LoadReason.SIGNER_UNTRUSTED:
            raise
        shown = [f"{signer[:19]}…" for signer in sorted(guard.signers)]
        few = ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")
        bound = f"trustedSigners of the ModelPolicies over this namespace permit only {few or 'nobody'}"
        raise LoadError(error.reason, f"{error.message}; {bound}", error.stage, permanent=error.permanent) from None


def _refuse(reason: LoadReason, message: str) -> LoadError:
    return LoadError(reason, message, "verify", permanent=True)


def _connect(keys: SecretKeys | VaultKeys | AwsKmsKeys) -> "KeyEncryptionKey":
    from modelward_runtime.store.kek import connect  # noqa: PLC0415

    return connect(keys)


def _load_trust(verification: Verification) -> "Trust":
    from modelward_runtime.store.sealed.trust import load_trust, permit  # noqa: PLC0415

    trust = load_trust(Path(verification.trust_directory))
    return trust if verification.signers is None else permit(trust, verification.signers)
