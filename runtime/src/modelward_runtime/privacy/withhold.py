"""Keeps a caller's values out of error texts and logs while a policy holds: what raised them may quote them.

`exchange.py` runs each request inside `Withholding`. ONNX Runtime's exceptions name indices that are out of bounds, a flaw of ours may name
anything; both are told by their kind and place only. Errors that the runtime words itself quote no value and pass.
"""

import logging
import traceback
from types import TracebackType

from modelward_runtime.errors import ApiError, InferenceFailed
from modelward_runtime.privacy.rules import Rules

MODEL_FAILED = "policy: model-failed: the model failed on this input; what it said is not repeated"

log = logging.getLogger(__name__)


class Withholding:
    """A context in which foreign words about a request are replaced, if a policy holds."""

    __slots__ = ("_governed",)

    def __init__(self, rules: Rules) -> None:
        self._governed = rules.governed

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raise another error in the place of one that may quote values."""
        if kind is None or not self._governed or not isinstance(error, Exception):
            return
        if isinstance(error, InferenceFailed):
            raise InferenceFailed(MODEL_FAILED) from None
        if not isinstance(error, ApiError):
            where = "".join(traceback.format_tb(trace)[-3:])
            log.error("request failed unexpectedly", extra={"type": kind.__name__, "where": where})
            raise ApiError("internal error") from None
