"""What a session takes and gives, as the protocol's tensors; what the protocol cannot carry is refused, with what to do about it.

`engine.py` calls `inputs_of` and `outputs_of` with the arguments that ONNX Runtime lists of a session. An input may be left out
where its type is `optional(tensor(…))`, or where the graph has a value for it and the model's metadata property `optional_inputs` says
that callers may set it. Without that word nobody may: exporters list weights among the inputs too, and who may set weights can read the
others off the answers. It must not import onnxruntime.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from modelward_runtime.errors import LoadReason
from modelward_runtime.explaining import failure
from modelward_runtime.model import Array, TensorSpec
from modelward_runtime.properties import names_in
from modelward_runtime.zipmap import Classes

SETTABLE = "optional_inputs"

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(bfloat16)": "BF16",
    "tensor(string)": "BYTES",
}
_MAPS = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")


def inputs_of(
    arguments: Iterable[Any], defaulted: Iterable[Any], properties: Mapping[str, str]
) -> tuple[tuple[TensorSpec, ...], frozenset[str]]:
    """The inputs, and the names of those that have a value and may not be set. LoadError says what cannot be served."""
    settable = set(names_in(properties.get(SETTABLE, "")))
    inputs = [_input(argument) for argument in arguments]
    defaults = set()
    for argument in defaulted:
        if argument.name in settable:
            inputs.append(_spec(argument, argument.type, "input", optional=True))
        else:
            defaults.add(argument.name)
    for name in sorted(settable - {spec.name for spec in inputs if spec.optional}):
        raise failure(
            LoadReason.INVALID_MODEL,
            f"the model's metadata property {SETTABLE} names {name!r}, for which the graph has no value: "
            "give the input an initializer, or take it off the list",
        )
    return tuple(inputs), frozenset(defaults)


def outputs_of(arguments: Iterable[Any], classes: Mapping[str, Classes]) -> tuple[TensorSpec, ...]:
    """The outputs. LoadError says what cannot be served."""
    return tuple(_output(argument, classes.get(argument.name, ())) for argument in arguments)


def are_maps(argument: Any) -> bool:  # noqa: ANN401  onnxruntime is untyped
    """Whether it is what a ZipMap gives."""
    return argument.type in _MAPS


def _input(argument: Any) -> TensorSpec:  # noqa: ANN401  onnxruntime is untyped
    kind = argument.type
    optional = kind.startswith("optional(")
    return _spec(argument, kind[len("optional(") : -1] if optional else kind, "input", optional=optional)


def _output(argument: Any, classes: Classes) -> TensorSpec:  # noqa: ANN401  onnxruntime is untyped
    if are_maps(argument) and classes:
        return TensorSpec(argument.name, "FP32", (-1, len(classes)), classes=classes)
    return _spec(argument, argument.type, "output")


def _spec(argument: Any, kind: str, what: str, *, optional: bool = False) -> TensorSpec:  # noqa: ANN401  onnxruntime is untyped
    datatype = _DATATYPES.get(kind)
    if datatype is None:
        raise failure(
            LoadReason.UNSUPPORTED_TYPES,
            f"the {what} {argument.name!r} is {argument.type}, which cannot be served: {_advice(kind, what)}",
        )
    shape = tuple(axis if isinstance(axis, int) and axis >= 0 else -1 for axis in argument.shape)
    axes = tuple(axis if isinstance(axis, str) else "" for axis in argument.shape)
    return TensorSpec(argument.name, datatype, shape, optional, axes=axes)


def disagreement(inputs: Iterable[TensorSpec], sent: Mapping[str, Array]) -> str:
    """Where two axes to which the graph gives one name differ, empty where none do; asked once a run has failed.

    Nobody is refused for it beforehand: ONNX Runtime lets such runs be, and exporters give one name to axes that need not agree.
    """
    lengths: dict[str, tuple[int, str]] = {}
    for spec in inputs:
        shape = sent[spec.name].shape if spec.name in sent else ()
        for place, (name, length) in enumerate(zip(spec.axes, shape, strict=False)):
            where = f"axis {place} of input '{spec.name}'"
            known, known_where = lengths.setdefault(name, (length, where))
            if name and length != known:
                return f"{where} is {length}, and {known_where} is {known}: the model takes them alike"
    return ""


def _advice(kind: str, what: str) -> str:
    if kind.startswith("tensor("):
        return (
            "the Open Inference Protocol has no such datatype. Inside the graph it may stay, "
            "at its edge convert it with a Cast node"
        )
    if kind in _MAPS and what == "output":
        return (
            "only what a ZipMap node gives is known to be a tensor. "
            "A scikit-learn classifier gives plain tensors when it is converted with options={'zipmap': False}"
        )
    if kind.startswith("optional("):
        return (
            "an answer has all its outputs: end the graph with OptionalGetElement, or with an empty tensor for nothing"
        )
    if kind.startswith("seq(tensor"):
        node = "SplitToSequence behind an input that is one tensor" if what == "input" else "ConcatFromSequence"
        return f"the Open Inference Protocol carries tensors only: use {node}"
    return "the Open Inference Protocol carries tensors only"
