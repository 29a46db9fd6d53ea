"""Puts into words why ONNX Runtime takes no model: for a plain one as it says, for a sealed one without a name from its inside.

`engine.py` calls `explain` with what ONNX Runtime raised, and `withhold` with what became of a sealed model: termination log, status and
log are read by people who may not read the model, and ONNX Runtime's words hold names of nodes, operators and tensors. It must not know
sessions.
"""

import re
from collections.abc import Mapping
from typing import Final

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.onnxfile import Contents

_WITHHELD: Final = (
    "names from the inside of a sealed model are told to nobody: `modelward serve` of the plain model shows them"
)
_SEALED: Final[Mapping[LoadReason, str]] = {
    LoadReason.INVALID_MODEL: "what was sealed is not an ONNX model that this ONNX Runtime takes",
    LoadReason.UNSUPPORTED_OPSET: "what was sealed uses an operator that this ONNX Runtime does not have",
    LoadReason.UNSUPPORTED_TYPES: "what was sealed has an input, an output or a node of a type that cannot be served",
    LoadReason.EXTERNAL_DATA_OUTSIDE_FOLDER: "what was sealed names weights outside the model; only files of the sealed model may be named",
    LoadReason.EXTERNAL_DATA_MISSING: "what was sealed names weights in a file that is not in the sealed model, or is too short: "
    "seal the whole folder",
}


class Withheld(Exception):
    """A run of a sealed model failed; what ONNX Runtime said is not repeated."""

    def __init__(self) -> None:
        super().__init__(f"ONNX Runtime cannot compute this; {_WITHHELD}")


class Told(LoadError):
    """A refusal that names nothing from the inside of the model, so that a sealed one may tell it too."""


def explain(error: Exception, contents: Contents) -> LoadError:
    """ONNX Runtime's words as a reason and a sentence that says what to do."""
    text = re.sub(r"/\S+/onnxruntime_src/\S+ ", "", str(error)).strip()
    opsets = ", ".join(f"{domain} {version}" for domain, version in contents.opsets.items())
    limit = re.search(r"Current official support for domain (\S+) is till opset (\d+)", text)
    if limit:
        has = contents.opsets.get(limit[1], 0)
        return _too_new(
            f"the model uses opset {has} of {limit[1]}, this ONNX Runtime supports up to {limit[2]}: export it with a lower opset"
        )
    version = re.search(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)", text)
    if version:
        return _too_new(
            f"the model's IR version is {version[1]}, this ONNX Runtime supports up to {version[2]}: "
            "save it with an older onnx package, or set ir_version"
        )
    unknown = re.search(
        r"(No Op registered for .+|\S+ is not a registered function/op|Could not find an implementation for .+)", text
    )
    if unknown:
        return failure(LoadReason.UNSUPPORTED_OPSET, f"{unknown[1].strip()} (the model's opsets: {opsets})")
    if "is not currently registered or supported" in text:
        return failure(LoadReason.UNSUPPORTED_TYPES, text[-500:])
    return failure(LoadReason.INVALID_MODEL, f"ONNX Runtime refuses the model: {text[-1500:]}")


def withhold(error: LoadError) -> LoadError:
    """The same refusal without a name from the inside of the model."""
    if isinstance(error, Told):
        return error
    told = _SEALED.get(error.reason, _SEALED[LoadReason.INVALID_MODEL])
    return LoadError(error.reason, f"{told}; {_WITHHELD}", error.stage, permanent=error.permanent)


def failure(reason: LoadReason, message: str) -> LoadError:
    """A LoadError of the load stage."""
    return LoadError(reason, message, "load", permanent=True)


def _too_new(message: str) -> LoadError:
    return Told(LoadReason.UNSUPPORTED_OPSET, message, "load", permanent=True)
