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
weights twice. Where the C library is told to (GLIBC_TUNABLES of the image), it asks for huge pages, for models up to a size.
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

from modelward_runtime import arguments, buckets, onnxfile, weights, zipmap
from modelward_runtime.bound import Bound
from modelward_runtime.config import DEFAULT_CUDA, Cuda
from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.explaining import Told, Withheld, explain, failure, withhold
from modelward_runtime.hardware import Hardware
from modelward_runtime.memory import HUGE, Plaintext, ReadOnce
from modelward_runtime.model import Array, TensorSpec, numpy_type
from modelward_runtime.providers import CPU, lacking, options_of, providers_of, quiet_runs

log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_PR_SET_THP_DISABLE, _PR_GET_THP_DISABLE = 41, 42
_BFLOAT16 = 16  # TensorProto.DataType.BFLOAT16
_FATAL = 4  # of ONNX Runtime's log severities

# Operators that loop, or give as much as a value says: what they cost is not in the shapes of the inputs. Without those that only cut.
_UNSTEADY = frozenset(
    {"Loop", "Scan", "SequenceMap", "Range", "ConstantOfShape", "Expand", "Tile", "OneHot", "StringSplit"}
    | {"BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"}
)


Session = tuple[Any, onnxfile.Contents, Mapping[str, zipmap.Classes]]
Shapes = tuple[tuple[int, ...], ...]  # of all inputs, in the model's order


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
    steady: bool = False  # what a run costs depends on the shapes of its inputs alone
    classes: Mapping[str, zipmap.Classes] = msgspec.field(default_factory=dict)  # of outputs that are sequences of maps
    bf16_inputs: tuple[str, ...] = ()
    bf16_outputs: bool = False
    quiet: Any = None  # RunOptions: a run that fails is told to its caller, and not to stderr with the caller's values
    independent: bool = True  # the answer to a row does not depend on the rows beside it, as far as that could be tried
    sizes: tuple[int, ...] = ()  # the numbers of rows that runs have, if not any: others are filled up
    bound: Mapping[Shapes, Bound] = msgspec.field(default_factory=dict)  # runs with buffers of their own

    @property
    def batchable(self) -> bool:
        """Every input and output has a dynamic first axis, and rows are computed apart."""
        return self.independent and all(spec.shape and spec.shape[0] == -1 for spec in (*self.inputs, *self.outputs))

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Compute `outputs`, in that order; blocks, without the GIL."""
        if not self.sealed:
            return self._run(inputs, outputs)
        try:
            return self._run(inputs, outputs)
        except Exception:  # noqa: BLE001  whatever ORT raises, it names nodes and operators
            raise Withheld from None

    def _run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        rows = buckets.rows_in(inputs) if self.sizes else 0
        if size := buckets.fit(rows, self.sizes):
            found = buckets.cut(self._compute(buckets.fill(inputs, rows, size), outputs), rows, size)
            if found is not None:
                return found
        return self._compute(inputs, outputs)

    def _compute(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        if self.bound and (bound := self.bound.get(tuple(array.shape for array in inputs.values()))):
            return bound.run(inputs, outputs)
        feeds: dict[str, Any] = dict(inputs)
        if self.bf16_inputs:
            feeds |= {name: _bf16_value(inputs[name]) for name in self.bf16_inputs if name in inputs}
        if self.bf16_outputs:
            return self._run_with_values(feeds, outputs)
        results: list[Any] = self.session.run(list(outputs), feeds, self.quiet)
        if self.classes:
            return [
                zipmap.to_array(result, self.classes[name]) if name in self.classes else result
                for name, result in zip(outputs, results, strict=True)
            ]
        return results

    def _run_with_values(self, feeds: dict[str, Any], outputs: Sequence[str]) -> list[Array]:
        """The same by way of OrtValue, which has a bfloat16; numpy sees its bits as uint16."""
        make = onnxruntime().OrtValue.ortvalue_from_numpy
        values = {name: make(feed) if isinstance(feed, np.ndarray) else feed for name, feed in feeds.items()}
        return [_to_numpy(result) for result in self.session.run_with_ort_values(list(outputs), values, self.quiet)]


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
    cuda: Cuda = DEFAULT_CUDA,
    hardware: Hardware,
) -> OnnxModel:
    """A session of the model; LoadError says why there is none. `threads` 0: as many as the hardware allows."""
    ort = onnxruntime()
    wanted = threads or hardware.threads
    options, providers = options_of(ort, wanted, hardware), providers_of(ort, accelerator, cuda)
    sealed = isinstance(source, Plaintext)
    try:
        with _large_blocks_apart(), _small_pages() if _size_of(source) > HUGE else contextlib.nullcontext():
            if isinstance(source, Plaintext):
                _say_nothing(ort, options)
                session, contents, classes = _session_of_memory(ort, source, options, providers)
            else:
                session, contents, classes = _session_of_file(ort, source, options, providers)
        metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        inputs, defaults = arguments.inputs_of(session.get_inputs(), session.get_overridable_initializers(), metadata)
        outputs = arguments.outputs_of(session.get_outputs(), classes)
        _check_mixture(inputs, outputs)
    except LoadError as error:
        if sealed:
            raise withhold(error) from None
        raise
    provider = session.get_providers()[0]
    if words := lacking(ort, accelerator, cuda, provider):
        log.warning(words)
    return OnnxModel(
        name,
        version,
        inputs,
        outputs,
        provider,
        wanted,
        session,
        sealed,
        defaults,
        {name: text for name, text in metadata.items() if name == "feature_names"},  # of use to a privacy policy
        not contents.operators & _UNSTEADY,
        {spec.name: spec.classes for spec in outputs if spec.classes},
        tuple(spec.name for spec in inputs if spec.datatype == "BF16"),
        any(spec.datatype == "BF16" for spec in outputs),
        quiet_runs(ort, graphs=provider != CPU and cuda.graphs),
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


def _size_of(source: Path | Plaintext) -> int:
    """Bytes of the graph, and in memory of all files."""
    return sum(map(len, source.files.values())) if isinstance(source, Plaintext) else source.stat().st_size


@contextlib.contextmanager
def _small_pages() -> Iterator[None]:
    """Within, no memory is had in huge pages, though the image asks for them (GLIBC_TUNABLES); it may have been so before."""
    prctl = getattr(ctypes.CDLL(None), "prctl", lambda *_: 1)
    before = prctl(_PR_GET_THP_DISABLE, 0, 0, 0, 0)
    prctl(_PR_SET_THP_DISABLE, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_PR_SET_THP_DISABLE, max(before, 0), 0, 0, 0)


def _session_of_file(ort: ModuleType, file: Path, options: Any, providers: list[Any]) -> Session:  # noqa: ANN401  untyped
    contents = onnxfile.check(file)
    classes = zipmap.classes_in_file(file) if zipmap.OPERATOR in contents.operators else {}
    try:
        return ort.InferenceSession(str(file), sess_options=options, providers=providers), contents, classes
    except Exception as error:  # ORT has a class per status, and none above them
        raise explain(error, contents) from error


def _session_of_memory(ort: ModuleType, plaintext: Plaintext, options: Any, providers: list[Any]) -> Session:  # noqa: ANN401  untyped
    sizes = {path: len(view) for path, view in plaintext.files.items()}
    contents = onnxfile.check_in_memory(plaintext.graph, plaintext.graph_path, sizes)
    classes = zipmap.classes_in(plaintext.graph) if zipmap.OPERATOR in contents.operators else {}
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
    return session, contents, classes


def warm_up(model: OnnxModel) -> None:
    """Run once on zeros, 1 along each dynamic axis, so that the first caller does not pay for what is made lazily."""
    zeros = {spec.name: _zeros(spec) for spec in model.inputs if not spec.optional}
    try:
        model.run(zeros, [spec.name for spec in model.outputs])
    except Exception as error:  # noqa: BLE001  whatever ORT raises: some models cannot take zeros, and serve well
        log.warning("the warm-up on zeros failed, the model serves without", extra={"cause": str(error)[:500]})
    return_freed_memory()


def _say_nothing(ort: ModuleType, options: Any) -> None:  # noqa: ANN401  onnxruntime is untyped
    """ONNX Runtime writes its errors to stderr too, with the names of nodes; what is fatal ends the process."""
    ort.set_default_logger_severity(_FATAL)
    options.log_severity_level = _FATAL


def _check_mixture(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Where BF16 comes out, all goes by OrtValues: ONNX Runtime makes none of text, and shows Python no maps in one."""
    found = [f"the input {spec.name!r} is text" for spec in inputs if spec.datatype == "BYTES"]
    found += [f"the output {spec.name!r} is a sequence of maps" for spec in outputs if spec.classes]
    if found and any(spec.datatype == "BF16" for spec in outputs):
        raise failure(
            LoadReason.UNSUPPORTED_TYPES,
            f"{found[0]}, which cannot be served beside an output that is BF16: convert that with a Cast node at the graph's edge",
        )


def _zeros(spec: TensorSpec) -> Array:
    shape = tuple(1 if axis == -1 else axis for axis in spec.shape)
    if spec.datatype == "BYTES":
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, dtype=numpy_type(spec.datatype))


def _bf16_value(bits: Array) -> Any:  # noqa: ANN401  onnxruntime is untyped
    return onnxruntime().OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _BFLOAT16)


def _to_numpy(value: Any) -> Array:  # noqa: ANN401  onnxruntime is untyped
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    return np.asarray(_Bits(value))


class _Bits:
    """What numpy may see of a BF16 value: its bits, without a copy. An array of them keeps the value alive.

    Neither `OrtValue.numpy` nor numpy's DLPack knows bfloat16; the array interface asks for an address and a type, and uint16 will do.
    """

    def __init__(self, value: Any) -> None:  # noqa: ANN401  onnxruntime is untyped
        self._value = value
        address, bits = value.data_ptr(), np.dtype(np.uint16)
        self.__array_interface__ = {
            "version": 3,
            "shape": tuple(value.shape()),
            "typestr": bits.str,
            "data": (address, True),
        }


def return_freed_memory() -> None:
    """Glibc keeps freed pages; after loading that can be as much as the model."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
