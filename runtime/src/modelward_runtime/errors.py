"""Every error the runtime tells anyone about, with its HTTP status and gRPC code.

Raised by the load path (`store/`, `engine.py`, `config.py`) and the request path (`codec.py`, `batch.py`, `exchange.py`);
turned into bytes only by `web.py` and `grpc_server.py`, so that both transports answer with the same text.
It must not import a transport: the gRPC code is the name of a `grpc.StatusCode` member.

    RuntimeFault
    ├── LoadError              reason, stage, permanent: the model cannot be served (admin report, termination log)
    └── ApiError               a request is answered with an error
        ├── BadRequest           400 INVALID_ARGUMENT    the bytes or a tensor are wrong
        │   └── PolicyViolated     what was sent may not be received, by the privacy policy's rule `code`
        ├── Unauthenticated      401 UNAUTHENTICATED     no token, or one that is not accepted: nobody learns why
        ├── Forbidden            403 PERMISSION_DENIED   a call that this server never allows
        │   ├── EpsilonRefused     the privacy budget is spent; it may begin anew after `retry_after` seconds
        │   ├── PredictForbidden   this subject may not predict with this model
        │   └── OutputWithheld     an output that the privacy policy returns to nobody
        ├── NotFound             404 NOT_FOUND           no such model, version or path
        ├── MethodNotAllowed     405 UNIMPLEMENTED       the path exists, the method does not
        ├── LengthRequired       411 INVALID_ARGUMENT    an extension needs a length that is not there
        ├── BodyTooLarge         413 RESOURCE_EXHAUSTED  the body, packed or unpacked, is over the limit
        ├── UnsupportedMedia     415 INVALID_ARGUMENT    a content type or encoding that is not understood
        ├── Busy                 429 RESOURCE_EXHAUSTED  come back after `retry_after` seconds
        │   ├── QueueFull          as many requests wait as may wait
        │   ├── BodiesFull         the bodies of other requests leave no room for this one
        │   └── SubjectBusy        this subject asks too often, or for too much at once
        ├── InferenceFailed      500 INTERNAL            the model refused or broke on this very input
        ├── Unavailable          503 UNAVAILABLE         not loaded yet, draining, or no record can be made of the call
        │   ├── CallerUnknown      nobody can be asked who calls, or what they may
        │   └── EpsilonUnavailable the ledger of the privacy budget cannot be asked
        └── DeadlineExceeded     504 DEADLINE_EXCEEDED   the caller's or the server's time is over
"""

import logging
from enum import StrEnum
from typing import ClassVar, Literal

LoadStage = Literal["fetch", "verify", "decrypt", "load"]


class LoadReason(StrEnum):
    """Why a model cannot be served; the operator repeats the same words in status conditions."""

    UNSUPPORTED_SCHEME = "UnsupportedScheme"  # the URI is of no scheme that is known, nor a path
    BUCKET_NOT_FOUND = "BucketNotFound"
    MODEL_NOT_FOUND = "ModelNotFound"  # nothing lies under the key or path
    ACCESS_DENIED = "AccessDenied"  # wrong, missing or expired credentials
    SOURCE_UNREACHABLE = "SourceUnreachable"  # no name, no connection, a 5xx: transient, retried
    FETCH_STALLED = "FetchStalled"  # a minute without a byte
    TRUNCATED = "Truncated"  # fewer bytes came than were announced
    CERTIFICATE_INVALID = "CertificateInvalid"  # the store's TLS certificate is not trusted
    NO_MODEL_FILE = "NoModelFile"  # a folder without model.onnx or a single .onnx
    AMBIGUOUS_MODEL_FILE = "AmbiguousModelFile"  # several .onnx and none is model.onnx
    OUT_OF_SPACE = "OutOfSpace"  # the volume is smaller than the model
    DIGEST_MISMATCH = "DigestMismatch"  # the bytes are not the declared ones
    INVALID_MODEL = "InvalidModel"  # not an ONNX model, or one that ONNX Runtime refuses
    UNSUPPORTED_OPSET = "UnsupportedOpset"  # newer than this ONNX Runtime
    EXTERNAL_DATA_OUTSIDE_FOLDER = "ExternalDataOutsideFolder"
    EXTERNAL_DATA_MISSING = "ExternalDataMissing"
    UNSUPPORTED_TYPES = "UnsupportedTypes"  # an input or output that the protocol cannot carry
    CONFIG_INVALID = "ConfigInvalid"  # boot.json, or what it names
    POLICY_UNSATISFIABLE = "PolicyUnsatisfiable"  # policy.json is unreadable or asks for what is not there: waited for
    NOT_SEALED = "NotSealed"  # encryption is required and the model is plain
    SEALED_WITHOUT_KEY = "SealedWithoutKey"  # the model is sealed and the spec names no key
    SIGNATURE_MISSING = "SignatureMissing"
    SIGNATURE_INVALID = (
        "SignatureInvalid"  # the bytes are not those that were signed, or the signature's form is not canonical
    )
    SIGNER_UNTRUSTED = "SignerUntrusted"  # signed, by a key that is not in verification.trust
    SEAL_INVALID = (
        "SealInvalid"  # manifest.json or keys.json is not of the format, or the set of files is not the manifest's
    )
    SEAL_MISMATCH = "SealMismatch"  # sealed for another tenant, model or version
    KEY_NOT_FOUND = "KeyNotFound"  # none of the keys that the model is wrapped for is at hand
    KEY_WRONG = "KeyWrong"  # the key at hand has the right id and does not open the model
    KEY_DENIED = "KeyDenied"  # the key service refuses: no right, revoked, disabled
    KEY_SERVICE_UNREACHABLE = "KeyServiceUnreachable"  # no name, no connection, a 5xx, sealed: transient, retried
    SERVING_CERTIFICATE_UNUSABLE = "ServingCertificateUnusable"  # tls.crt and tls.key: transient, waited for
    DECRYPTION_FAILED = "DecryptionFailed"  # the authenticated encryption does not prove the bytes


_log = logging.getLogger(__name__)


class RuntimeFault(Exception):
    """The root of this package's tree."""


class LoadError(RuntimeFault):
    """The model cannot be served. `permanent` says that the same bytes will fail again: no retry, exit 78.

    `retry_after`: seconds for which a store has asked to be left alone.
    """

    def __init__(
        self, reason: LoadReason, message: str, stage: LoadStage, *, permanent: bool, retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.stage: LoadStage = stage
        self.permanent = permanent
        self.retry_after = retry_after


def unsatisfiable(message: str) -> LoadError:
    """A policy asks for what is not there; another may be satisfied."""
    return LoadError(LoadReason.POLICY_UNSATISFIABLE, message, "load", permanent=False)


class ApiError(RuntimeFault):
    """A request is answered with `status` (HTTP) or `grpc_code` (gRPC) and `message`, word for word the same."""

    status: ClassVar[int] = 500
    grpc_code: ClassVar[str] = "INTERNAL"
    code: str = ""  # a stable word for machines, where the message begins with one

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadRequest(ApiError):
    """The bytes are not a request, or a tensor is not what the model takes."""

    status = 400
    grpc_code = "INVALID_ARGUMENT"


class Unauthenticated(ApiError):
    """No token, or one that is not accepted. Which of its properties was wrong is for the log, never for the caller."""

    status = 401
    grpc_code = "UNAUTHENTICATED"
    code = "unauthenticated"

    def __init__(self) -> None:
        super().__init__("access: unauthenticated: send a valid bearer token")


class Forbidden(ApiError):
    """A call that this server never allows."""

    status = 403
    grpc_code = "PERMISSION_DENIED"


class EpsilonRefused(Forbidden):
    """The privacy budget does not allow an answer. `retry_after` is in seconds, 0 where waiting does not help."""

    def __init__(self, code: str, message: str, retry_after: int = 0) -> None:
        super().__init__(f"policy: {code}: {message}")
        self.code = code
        self.retry_after = retry_after


class PredictForbidden(Forbidden):
    """Known, and without the right to predict. `subject` is for the audit, not for the caller."""

    code = "forbidden"

    def __init__(self, subject: str) -> None:
        super().__init__("access: forbidden: this subject may not predict with this model")
        self.subject = subject


class PolicyViolated(BadRequest):
    """The privacy policy does not let this in. `code` is for programs; nothing of what was sent is repeated."""

    def __init__(self, code: str, told: str) -> None:
        super().__init__(f"policy: {code}: {told}")
        self.code = code


class OutputWithheld(Forbidden):
    """The privacy policy returns this output to nobody."""

    code = "output-withheld"

    def __init__(self, name: str) -> None:
        super().__init__(f"policy: {self.code}: output '{name}' is not returned")


class NotFound(ApiError):
    """No such model, version or path."""

    status = 404
    grpc_code = "NOT_FOUND"


class MethodNotAllowed(ApiError):
    """The path exists, the method does not; `allow` is what it takes."""

    status = 405
    grpc_code = "UNIMPLEMENTED"

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(f"method {method} is not allowed here, use {allow}")
        self.allow = allow


class LengthRequired(ApiError):
    """A body came without a length where one is needed."""

    status = 411
    grpc_code = "INVALID_ARGUMENT"


class BodyTooLarge(ApiError):
    """The body is over the server's limit."""

    status = 413
    grpc_code = "RESOURCE_EXHAUSTED"

    def __init__(self, limit: int) -> None:
        super().__init__(f"request body is over the limit of {limit} bytes")


class UnsupportedMedia(ApiError):
    """A content type or content encoding that is not understood."""

    status = 415
    grpc_code = "INVALID_ARGUMENT"


class Busy(ApiError):
    """Too much at once; `retry_after` is in seconds."""

    status = 429
    grpc_code = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(f"{message}, retry in {retry_after} s")
        self.retry_after = retry_after


class QueueFull(Busy):
    """As many requests wait as may wait."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"queue is full: {waiting} requests are waiting")


class BodiesFull(Busy):
    """The bodies of other requests leave no room for this one."""

    def __init__(self, held: int, limit: int) -> None:
        super().__init__(f"too much at once: requests of {held} bytes are being answered, {limit} bytes may be")


class SubjectBusy(Busy):
    """One subject asks too often (`rate-limited`), or for too much at once (`concurrency-limited`)."""

    def __init__(self, code: str, words: str, subject: str, retry_after: int) -> None:
        super().__init__(f"access: {code}: {words}", retry_after)
        self.code = code
        self.subject = subject


class InferenceFailed(ApiError):
    """The model broke on this input."""

    status = 500
    grpc_code = "INTERNAL"


class Unavailable(ApiError):
    """Not loaded yet, draining, or the audit log that a policy requires takes no records."""

    status = 503
    grpc_code = "UNAVAILABLE"


class CallerUnknown(Unavailable):
    """Nobody could be asked who calls, or what they may: the door stays shut."""

    code = "unavailable"

    def __init__(self) -> None:
        super().__init__("access: unavailable: the caller cannot be checked now, try again")


class EpsilonUnavailable(Unavailable):
    """The ledger of the privacy budget cannot be asked; why is for the log and the report, not for callers."""

    code = "epsilon-ledger-unavailable"

    def __init__(self, why: str) -> None:
        super().__init__("policy: epsilon-ledger-unavailable: the privacy budget cannot be asked for, try again later")
        self.why = why


class DeadlineExceeded(ApiError):
    """The caller's or the server's time is over."""

    status = 504
    grpc_code = "DEADLINE_EXCEEDED"


def explain(error: Exception) -> ApiError:
    """What a caller is told at the last border. A flaw of ours is answered and logged, not dropped."""
    if isinstance(error, ApiError):
        return error
    _log.error("request failed unexpectedly", exc_info=error)
    return ApiError("internal error")
