"""Runs of one shape with buffers that are made once: ONNX Runtime's IOBinding.

Made by `warming.py` for each shape that runs will have on a GPU, used by `engine.py`. Inputs go through pinned pages to buffers that
stay where they are, outputs stay on the device until they are read: no allocation in a run, and addresses that a CUDA graph can be
captured with and replayed. On a processor the same code runs, to be tested. It must not know requests.
"""

import threading
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from modelward_runtime import cuda
from modelward_runtime.model import Array
from modelward_runtime.providers import quiet_runs


class Bound:
    """One shape. `example` has the inputs in that shape; `graph`, from 1 on, is the CUDA graph that is captured for it, 0 none."""

    def __init__(
        self,
        ort: ModuleType,
        session: Any,  # noqa: ANN401  onnxruntime is untyped
        example: Mapping[str, Array],
        outputs: Sequence[str],
        *,
        device: str,
        graphs: bool = False,
        graph: int = 0,
    ) -> None:
        self._session = session
        self._lock = threading.Lock()  # the buffers are one run's at a time
        self._binding = session.io_binding()
        self._inputs: dict[str, Any] = {}
        self._staged: dict[str, Array] = {}
        for name, array in example.items():
            self._inputs[name] = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), array.dtype, device, 0)
            self._inputs[name].update_inplace(np.ascontiguousarray(array))
            self._binding.bind_ortvalue_input(name, self._inputs[name])
            staged = np.empty(array.shape, array.dtype)
            if cuda.pin(staged):
                self._staged[name] = staged
        for name in outputs:
            self._binding.bind_output(name, device)
        session.run_with_iobinding(self._binding, quiet_runs(ort, graphs=graphs))  # tells how large outputs are
        shapes = {name: value.numpy() for name, value in zip(outputs, self._binding.get_outputs(), strict=True)}
        self._binding.clear_binding_outputs()
        self._outputs: dict[str, Any] = {}
        for name, array in shapes.items():
            self._outputs[name] = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), array.dtype, device, 0)
            self._binding.bind_ortvalue_output(name, self._outputs[name])
        self._options = quiet_runs(ort, graphs=graphs, graph=graph)
        self.run(example, outputs)  # captures the graph

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Compute `outputs`, in that order, of inputs of just this shape."""
        with self._lock:
            for name, value in self._inputs.items():
                value.update_inplace(self._stage(name, inputs[name]))
            self._session.run_with_iobinding(self._binding, self._options)
            return [np.array(self._outputs[name].numpy()) for name in outputs]

    def _stage(self, name: str, array: Array) -> Array:
        """The same in pinned pages, where there are some."""
        staged = self._staged.get(name)
        if staged is None:
            return np.ascontiguousarray(array)
        np.copyto(staged, array)
        return staged
