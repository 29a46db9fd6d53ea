"""Makes a model file into a running ONNX Runtime session: the one `Model` that serves in a pod.

`load.py` calls `load` on a worker thread (making a session takes long) and `warm_up` after it. This is the only file that imports
onnxruntime, and it does so late, with telemetry switched off first: importing the package already
writes a device id below $HOME and, seconds later, opens connections, unless ORT_DISABLE_TELEMETRY stands in the environment
by then. It must not know where the model came from, nor about requests, and it writes no file: no optimised model, no engine cache.

A plain model is a file. A sealed one is a `Plaintext` in memory: ONNX Runtime reads its graph once through a pipe that only this
process can open, which wipes it behind the reader (memory.py), and is given weights of other files (weights.py); the caller wipes
those once the session exists. No session is taken that did not read the graph whole: its metadata hold what stood in front of the
first byte and behind the last. What ONNX Runtime says of a sealed model's inside goes into no message and no log (explaining.py).

Memory: initializers are kept out of the arena, which otherwise rounds them up to powers of two; on a GPU the arena grows by what
is asked and not by doubling; pages freed after loading go back to the system (`malloc_trim`), because loading touches the
weights twice.
"""

import contextlib
import ctypes
import importlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec
import numpy as np

from modelward_runtime import onnxfile, weights
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.explaining import Told, Withheld, explain, failure, withhold
from modelward_runtime.hardware import Hardware
from modelward_runtime.memory import Plaintext, ReadOnce
from modelward_runtime.model import Array, TensorSpec, numpy_type

log = logging.getLogger(__name__)

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_BFLOAT16 = 16  # TensorProto.DataType.BFLOAT16
_FATAL = 4  # of ONNX Runtime's log severities

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


class OnnxModel(msgspec.Struct, frozen=True):
    """A session behind the seam of `model.py`; `run` may be called from several threads."""

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    execution_provider: str
    threads: int
    session: Any
    sealed: bool = False
    defaults: frozenset[str] = frozenset()
    properties: Mapping[str, str] = msgspec.field(default_factory=dict)
    quiet: Any = None  # RunOptions: a run that fails is told to its caller, and not to stderr with the caller's values

    @property
    def batchable(self) -> bool:
        """Every input and output has a dynamic first axis."""
        return all(spec.shape and spec.shape[0] == -1 for spec in (*self.inputs, *self.outputs))

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Compute `outputs`, in that order; blocks, without the GIL."""
        if not self.sealed:
            return self._run(inputs, outputs)
        try:
            return self._run(inputs, outputs)
        except Exception:  # noqa: BLE001  whatever ORT raises, it names nodes and operators
            raise Withheld from None

    def _run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        if any(spec.datatype == "BF16" for spec in (*self.inputs, *self.outputs)):
            return self._run_bfloat16(inputs, outputs)
        results: list[Array] = self.session.run(list(outputs), dict(inputs), self.quiet)
        return results

    def _run_bfloat16(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """The same by way of OrtValue, which knows bfloat16; numpy sees its bits as uint16."""
        value = onnxruntime().OrtValue
        types = {spec.name: spec.datatype for spec in self.inputs}
        feeds = {
            name: value.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
            if types[name] == "BF16"
            else value.ortvalue_from_numpy(array)
            for name, array in inputs.items()
        }
        return [_to_numpy(result) for result in self.session.run_with_ort_values(list(outputs), feeds, self.quiet)]


def onnxruntime() -> ModuleType:
    """The package, imported with telemetry off."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read once, by the import
    ort = importlib.import_module("onnxruntime")
    ort.disable_telemetry_events()
    ort.set_default_logger_severity(3)
    return ort


def load(
    source: Path | Plaintext,
    name: str,
    version: str,
    *,
    threads: int = 0,
    accelerator: Literal["CPU", "CUDA"] = "CPU",
    hardware: Hardware,
) -> OnnxModel:
    """A session of the model; LoadError says why there is none. `threads` 0: as many as the hardware allows."""
    ort = onnxruntime()
    wanted = threads or hardware.threads
    options, providers = _options(ort, wanted, hardware), _providers(ort, accelerator)
    sealed = isinstance(source, Plaintext)
    try:
        with _large_blocks_apart():
            if isinstance(source, Plaintext):
                _say_nothing(ort, options)
                session = _session_of_memory(ort, source, options, providers)
            else:
                session = _session_of_file(ort, source, options, providers)
        inputs, outputs = _specs(session.get_inputs(), "input"), _specs(session.get_outputs(), "output")
    except LoadError as error:
        if sealed:
            raise withhold(error) from None
        raise
    provider = session.get_providers()[0]
    if accelerator == "CUDA" and provider != CUDA:
        log.warning("CUDA is asked for and cannot be used here: serving on %s", provider)
    return OnnxModel(
        name,
        version,
        inputs,
        outputs,
        provider,
        wanted,
        session,
        sealed,
        frozenset(argument.name for argument in session.get_overridable_initializers()),
        _properties(session),
        _quiet_runs(ort),
    )


@contextlib.contextmanager
def _large_blocks_apart() -> Iterator[None]:
    """Within, glibc gives what is freed back at once, if it is large; else holes between blocks can cost half a model at the peak.

    Which block is large is learnt from what was freed before, and so depends on threads and imports: here it is fixed, and
    afterwards it is what glibc would have learnt at most (mallopt(3), M_MMAP_THRESHOLD), so that requests reuse memory.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: None)
    mallopt(_M_MMAP_THRESHOLD, 128 << 10)
    try:
        yield
    finally:
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)


def _session_of_file(ort: ModuleType, file: Path, options: Any, providers: list[Any]) -> Any:  # noqa: ANN401  untyped
    contents = onnxfile.check(file)
    try:
        return ort.InferenceSession(str(file), sess_options=options, providers=providers)
    except Exception as error:  # ORT has a class per status, and none above them
        raise explain(error, contents) from error


def _session_of_memory(ort: ModuleType, plaintext: Plaintext, options: Any, providers: list[Any]) -> Any:  # noqa: ANN401  untyped
    sizes = {path: len(view) for path, view in plaintext.files.items()}
    contents = onnxfile.check_in_memory(plaintext.graph, plaintext.graph_path, sizes)
    given = weights.give(ort, options, plaintext)
    ends = weights.Ends()
    reading = ReadOnce(plaintext.graph, ends.head, ends.tail)
    try:
        with reading:
            session = ort.InferenceSession(reading.path, sess_options=options, providers=providers)
    except Exception as error:  # as above
        raise explain(error, contents) from error
    finally:
        given.clear()  # ONNX Runtime borrowed this memory while it made the session
    if not (reading.is_read and ends.are_in(session.get_modelmeta().custom_metadata_map)):
        raise Told(
            LoadReason.INVALID_MODEL,
            "ONNX Runtime did not read the decrypted model once from end to end: this version of it cannot load sealed models",
            "load",
            permanent=True,
        )
    return session


def warm_up(model: OnnxModel) -> None:
    """Run once on zeros, 1 along each dynamic axis, so that the first caller does not pay for what is made lazily."""
    zeros = {spec.name: _zeros(spec) for spec in model.inputs}
    try:
        model.run(zeros, [spec.name for spec in model.outputs])
    except Exception as error:  # noqa: BLE001  whatever ORT raises: some models cannot take zeros, and serve well
        log.warning("the warm-up on zeros failed, the model serves without", extra={"cause": str(error)[:500]})
    _return_freed_memory()


def _say_nothing(ort: ModuleType, options: Any) -> None:  # noqa: ANN401  onnxruntime is untyped
    """ONNX Runtime writes its errors to stderr too, with the names of nodes; what is fatal ends the process."""
    ort.set_default_logger_severity(_FATAL)
    options.log_severity_level = _FATAL


def _quiet_runs(ort: ModuleType) -> Any:  # noqa: ANN401  onnxruntime is untyped
    """ONNX Runtime writes what failed to stderr, indices and other values of the caller included; its exception says it as well."""
    options = ort.RunOptions()
    options.log_severity_level = _FATAL
    return options


def _properties(session: Any) -> Mapping[str, str]:  # noqa: ANN401  onnxruntime is untyped
    """The metadata that somebody gave the model, of use to a privacy policy."""
    metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    return {name: text for name, text in metadata.items() if name == "feature_names"}


def _options(ort: ModuleType, threads: int, hardware: Hardware) -> Any:  # noqa: ANN401  onnxruntime is untyped
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if hardware.spinning else "0")
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    return options


def _providers(ort: ModuleType, accelerator: str) -> list[Any]:
    if accelerator != "CUDA":
        return [CPU]
    if CUDA not in ort.get_available_providers():
        return [CPU]
    ort.preload_dlls()
    return [(CUDA, {"arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}), CPU]


def _specs(arguments: Sequence[Any], what: str) -> tuple[TensorSpec, ...]:
    return tuple(_spec(argument, what) for argument in arguments)


def _spec(argument: Any, what: str) -> TensorSpec:  # noqa: ANN401  onnxruntime is untyped
    datatype = _DATATYPES.get(argument.type)
    if datatype is None:
        advice = "convert it with a Cast node at the graph's edge"
        if argument.type.startswith("seq(map"):
            advice = "a scikit-learn classifier gives plain tensors when it is converted with options={'zipmap': False}"
        elif not argument.type.startswith("tensor("):
            advice = "the Open Inference Protocol carries tensors only"
        raise failure(
            LoadReason.UNSUPPORTED_TYPES,
            f"the {what} {argument.name!r} is {argument.type}, which cannot be served: {advice}",
        )
    shape = tuple(axis if isinstance(axis, int) and axis >= 0 else -1 for axis in argument.shape)
    return TensorSpec(argument.name, datatype, shape)


def _zeros(spec: TensorSpec) -> Array:
    shape = tuple(1 if axis == -1 else axis for axis in spec.shape)
    if spec.datatype == "BYTES":
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, dtype=numpy_type(spec.datatype))


def _to_numpy(value: Any) -> Array:  # noqa: ANN401  onnxruntime is untyped
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    shape = tuple(value.shape())
    bits = (ctypes.c_uint16 * int(np.prod(shape))).from_address(value.data_ptr())
    return np.array(bits, dtype=np.uint16).reshape(shape)


def _return_freed_memory() -> None:
    """Glibc keeps freed pages; after loading that can be as much as the model."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
