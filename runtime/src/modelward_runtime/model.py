"""The seam between the request path and the engine: what a loaded model looks like to those who serve it.

Implemented by `engine.py` (ONNX Runtime) and by small doubles in tests; used by `codec.py` (to check tensors), `batch.py`
(to run) and `exchange.py` (metadata). It must not import onnxruntime.

Values at the seam are C-contiguous, native-endian numpy arrays: BOOL is `bool`, BYTES is an object array of `str` (UTF-8
on the wire), BF16 is `uint16` bit patterns (`bfloat16.py` has their numbers), everything else the numpy type of the same name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]  # numpy.typing's NDArray[Any], which takes long to import


class TensorSpec(msgspec.Struct, frozen=True):
    """One input or output: `datatype` as the Open Inference Protocol spells it, -1 in `shape` for a dynamic axis.

    An `optional` input may be left out. `classes` are the names of an output's columns, where the model says them. `axes` are the graph's
    names of the axes, empty where they have none.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    classes: tuple[int, ...] | tuple[str, ...] = ()
    axes: tuple[str, ...] = ()


class Face(msgspec.Struct, frozen=True):
    """What callers see of a model: all of it, or what a privacy policy leaves.

    `ignored` inputs may be sent and are not looked at; `withheld` outputs exist and are returned to nobody. `reads_text`: an input is
    BYTES, of which every element is an object of its own, whatever it came in.
    """

    name: str
    version: str
    execution_provider: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    ignored: frozenset[str] = frozenset()
    withheld: frozenset[str] = frozenset()
    reads_text: bool = False

    def __post_init__(self) -> None:
        """It follows from the inputs."""
        msgspec.structs.force_setattr(self, "reads_text", any(spec.datatype == "BYTES" for spec in self.inputs))


class Model(Protocol):
    """One loaded and warmed-up model."""

    @property
    def name(self) -> str:
        """The name it is served under."""

    @property
    def version(self) -> str:
        """The one version it is served under."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What callers may send: the graph's inputs, in its order, then those that it has a value for and callers may set."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The graph's outputs, in its order."""

    @property
    def defaults(self) -> frozenset[str]:
        """Inputs that the graph has a value for and that are not among `inputs`: callers may not set what may be weights."""

    @property
    def properties(self) -> Mapping[str, str]:
        """The model's own metadata, as `feature_names`."""

    @property
    def execution_provider(self) -> str:
        """ONNX Runtime's name of what computes, as in `CPUExecutionProvider`."""

    @property
    def batchable(self) -> bool:
        """Every input and output has a dynamic first axis, so that rows of several callers may share a run."""

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Compute `outputs`, in that order. Blocks: called on a worker thread, several at once; releases the GIL.

        Raises whatever the engine raises; the caller turns it into `InferenceFailed`.
        """


def face_of(model: Model) -> Face:
    """All of a model."""
    return Face(model.name, model.version, model.execution_provider, model.inputs, model.outputs)


def numpy_type(datatype: str) -> np.dtype[Any] | None:
    """The numpy type that stands for an OIP datatype at the seam, None for a name the protocol does not know."""
    return NUMPY_TYPES.get(datatype)


NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.uint16),
    "BYTES": np.dtype(np.object_),
}
