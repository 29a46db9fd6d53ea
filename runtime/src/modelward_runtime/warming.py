"""Runs a loaded model before any caller does: for what is made lazily, in every shape that is known, and to see whether rows may be shared.

Called by `load.py` on a thread, once a model is loaded. That a model's first axis may have any length does not say that its rows are
computed apart: a model may take a mean over them, and one caller's answer would then depend on who shared the run. So where batching is
wanted, two rows are run alone and beside each other; unless their answers stay the same, no run is shared. A model that cannot take
made-up values cannot be tried: its runs are shared as its shapes allow, and it is never padded.
"""

import logging
import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from modelward_runtime import engine
from modelward_runtime.bound import Bound
from modelward_runtime.buckets import sizes_up_to
from modelward_runtime.engine import OnnxModel, Shapes
from modelward_runtime.model import Array, TensorSpec, numpy_type

log = logging.getLogger(__name__)
_PERIOD = 4099
_CLOSE = 1e-2  # of the largest value: rows in other places go through other kernels, which round differently


def warm_up(
    model: OnnxModel, most_rows: int = 1, *, padded: bool = False, graphs: bool = False, device: str = ""
) -> OnnxModel:
    """The model as it is to be served, of which at most so many rows share a run. Always returns one.

    `graphs`: CUDA graphs are to be captured, which takes runs of sizes that come again. `device`: where runs are bound to buffers of their
    own (`bound.py`), by its name in ONNX Runtime; empty: on none.
    """
    independent = are_independent(model) if most_rows > 1 and model.batchable else None
    if independent is None:  # it has not run yet
        engine.warm_up(model)
    if most_rows > 1 and model.batchable:
        model = _judge(model, most_rows, independent, padded=padded or (graphs and bool(device)))
    if device and _can_be_bound(model):
        model = _bind(model, device, graphs=graphs)
    for size in model.sizes:
        _run(model, [_made_up(spec, size) for spec in _needed(model)])
    engine.return_freed_memory()
    return model


def _judge(model: OnnxModel, most_rows: int, independent: bool | None, *, padded: bool) -> OnnxModel:
    if independent is False:
        log.warning("requests share no run: the model's answer to a row depends on the rows beside it")
        return msgspec.structs.replace(model, independent=False)
    if padded and independent:
        return msgspec.structs.replace(model, sizes=sizes_up_to(most_rows))
    if padded:
        log.warning("runs are not padded: the model takes no made-up values, so that it cannot be tried")
    return model


def _can_be_bound(model: OnnxModel) -> bool:
    """Its shapes are known but for the rows, which are fixed or have sizes; and numpy has its types."""
    specs = (*model.inputs, *model.outputs)
    known = all(spec.shape and -1 not in spec.shape[1:] for spec in specs)
    plain = not any(spec.optional or spec.classes or spec.datatype in {"BYTES", "BF16"} for spec in specs)
    return known and plain and model.steady and bool(_sizes_of(model))


def _sizes_of(model: OnnxModel) -> tuple[int, ...]:
    rows = {spec.shape[0] for spec in model.inputs}
    return model.sizes or (tuple(rows) if len(rows) == 1 and -1 not in rows else ())


def _bind(model: OnnxModel, device: str, *, graphs: bool) -> OnnxModel:
    bound: dict[Shapes, Bound] = {}
    names = [spec.name for spec in model.outputs]
    try:
        for graph, size in enumerate(_sizes_of(model), 1):
            example = {spec.name: _made_up(spec, size) for spec in model.inputs}
            one = Bound(engine.onnxruntime(), model.session, example, names, device=device, graphs=graphs, graph=graph)
            bound[tuple(array.shape for array in example.values())] = one
    except Exception as error:  # noqa: BLE001  whatever ORT raises: it serves as well without, if more slowly
        cause = "" if model.sealed else str(error)[:500]
        log.warning("runs are not bound to buffers of their own, the model serves without", extra={"cause": cause})
        return model
    return msgspec.structs.replace(model, bound=bound)


def are_independent(model: OnnxModel) -> bool | None:
    """Whether two rows get the same answers alone and beside each other; None where it cannot be tried."""
    one, other = ([_made_up(spec, 1, seed) for spec in _needed(model)] for seed in range(2))
    alone = [_run(model, one), _run(model, other)]
    shared = _run(model, [np.concatenate(pair) for pair in zip(one, other, strict=True)])
    if alone[0] is None or alone[1] is None or shared is None:
        return None
    if any(array.ndim == 0 or len(array) != 2 for array in shared):
        return False
    return all(
        single.ndim and len(single) == 1 and _alike(spec.datatype, single, together[place : place + 1])
        for place in (0, 1)
        for spec, single, together in zip(model.outputs, alone[place] or (), shared, strict=True)
    )


def _needed(model: OnnxModel) -> list[TensorSpec]:
    return [spec for spec in model.inputs if not spec.optional]


def _run(model: OnnxModel, arrays: Sequence[Array]) -> list[Array] | None:
    inputs: Mapping[str, Array] = {spec.name: array for spec, array in zip(_needed(model), arrays, strict=True)}
    try:
        return model.run(inputs, [spec.name for spec in model.outputs])
    except Exception:  # noqa: BLE001  whatever ORT raises: some models take no made-up values
        return None


def _made_up(spec: TensorSpec, rows: int, seed: int = 0) -> Array:
    """Values that a model is likely to take, and others for each seed: around 0, indices are 0 or 1, texts a letter.

    Not random: to import numpy's generators would take a fortieth of a start. They come again after a while, for the same reason.
    """
    shape = (rows, *(1 if axis == -1 else axis for axis in spec.shape[1:]))
    strewn = np.resize(1.5 * np.sin(np.arange(1.0, min(math.prod(shape), _PERIOD) + 1) * (14.2 + 91.7 * seed)), shape)
    kind = numpy_type(spec.datatype)
    if kind is None or kind.hasobject:
        return np.where(strewn > 0, "a", "b").astype(object)
    if spec.datatype == "BF16":
        return (strewn.astype(np.float32).view(np.uint32) >> 16).astype(kind)
    return (strewn > 0).astype(kind) if kind.kind in "biu" else strewn.astype(kind)


def _alike(datatype: str, one: Array, other: Array) -> bool:
    if datatype == "BF16":
        one, other = ((bits.astype(np.uint32) << 16).view(np.float32) for bits in (one, other))
    if one.dtype.hasobject or one.dtype.kind in "biu":
        return bool(np.array_equal(one, other))
    one, other = one.astype(np.float64), other.astype(np.float64)
    largest = float(np.abs(one[np.isfinite(one)]).max(initial=1.0))
    return bool(np.allclose(one, other, rtol=_CLOSE, atol=_CLOSE * largest * 0.01, equal_nan=True))
