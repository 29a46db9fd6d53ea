"""One run of the model for one request or for several of one signature: join, run, split.

Called by `batch.py`, on whatever thread runs the model. Nobody gets another's rows and nobody fails for a neighbour: what cannot be
split by rows, or breaks, is run again one by one. It must not know who waits.
"""

from collections.abc import Sequence

import numpy as np

from modelward_runtime.arguments import disagreement
from modelward_runtime.errors import ApiError, BadRequest, InferenceFailed
from modelward_runtime.model import Model
from modelward_runtime.states import Cleared, Raw

Outcome = Raw | ApiError


def run_together(model: Model, requests: Sequence[Cleared]) -> list[Outcome]:
    """Run requests of one signature as one batch and give each its own rows; alone where that does not work."""
    if len(requests) == 1:
        return [run_alone(model, requests[0])]
    counts = [len(next(iter(request.inputs.values()))) for request in requests]
    outputs = requests[0].outputs
    try:
        joined = {name: np.concatenate([request.inputs[name] for request in requests]) for name in requests[0].inputs}
        whole = model.run(joined, outputs)
    except Exception:  # noqa: BLE001 - whatever broke, each request is tried alone and gets its own error
        whole = []
    if len(whole) != len(outputs) or any(array.ndim == 0 or len(array) != sum(counts) for array in whole):
        return [run_alone(model, request) for request in requests]
    ends = np.cumsum(counts).tolist()
    return [Raw([array[end - count : end] for array in whole]) for count, end in zip(counts, ends, strict=True)]


def run_alone(model: Model, request: Cleared) -> Outcome:
    """Run one request; whatever goes wrong is its answer."""
    try:
        arrays = model.run(request.inputs, request.outputs)
    except ApiError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the border to foreign code: every failure becomes this caller's answer
        told = disagreement(model.inputs, request.inputs)
        return BadRequest(told) if told else InferenceFailed(f"the model failed: {error}")
    if len(arrays) != len(request.outputs):
        return InferenceFailed(f"the model gave {len(arrays)} outputs for {len(request.outputs)}")
    return Raw(arrays)
