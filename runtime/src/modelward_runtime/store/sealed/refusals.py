"""How a sealed or signed folder is refused: the reasons of `errors.LoadReason` with the stage that each belongs to.

Raised by every module of this package and by the key providers in `store/kek/`. A message says what is wrong, in which file, and
what to do; it must never hold key material or plaintext.
"""

from modelward_runtime.errors import LoadError, LoadReason, LoadStage

_TRANSIENT = {LoadReason.KEY_SERVICE_UNREACHABLE}
_VERIFY = {
    LoadReason.SIGNATURE_MISSING,
    LoadReason.SIGNATURE_INVALID,
    LoadReason.SIGNER_UNTRUSTED,
    LoadReason.SEAL_INVALID,
    LoadReason.SEAL_MISMATCH,
    LoadReason.CONFIG_INVALID,
}


def refuse(reason: LoadReason, message: str) -> LoadError:
    """The LoadError to raise, with the stage at which this reason comes up.

    What cannot be printed is escaped: names in a stranger's file end up in terminals and logs.
    """
    message = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in message)
    stage: LoadStage = "verify" if reason in _VERIFY else "decrypt"
    return LoadError(reason, message, stage, permanent=reason not in _TRANSIENT)


def seal_invalid(message: str) -> LoadError:
    """The folder is not of the format, or not what its signed manifest says."""
    return refuse(LoadReason.SEAL_INVALID, message)


def signature_invalid(message: str) -> LoadError:
    """The bytes are not those that were signed, or the signature's form is not canonical."""
    return refuse(LoadReason.SIGNATURE_INVALID, message)
