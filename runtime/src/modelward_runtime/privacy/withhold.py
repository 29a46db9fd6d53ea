"""Keeps a caller's values out of error texts and logs while a policy holds: what raised them may quote them.

`exchange.py` hands what a request raises to `withhold`. ONNX Runtime's exceptions name indices that are out of bounds, a flaw of ours may
name anything; both are told by their kind and place only. Errors that the runtime words itself quote no value and pass.
"""

import logging
import traceback

from modelward_runtime.errors import ApiError, InferenceFailed

MODEL_FAILED = "policy: model-failed: the model failed on this input; what it said is not repeated"

log = logging.getLogger(__name__)


def withhold(error: Exception) -> None:
    """Raise another error in the place of one that may quote values; return where it quotes none. For who holds to a policy."""
    if isinstance(error, InferenceFailed):
        raise InferenceFailed(MODEL_FAILED) from None
    if not isinstance(error, ApiError):
        where = "".join(traceback.format_tb(error.__traceback__)[-3:])
        log.error("request failed unexpectedly", extra={"type": type(error).__name__, "where": where})
        raise ApiError("internal error") from None
