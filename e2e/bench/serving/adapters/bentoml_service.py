"""BentoML: a service with an API of its own, {"x": rows} to rows (docs.bentoml.com), started by `bentoml serve`."""

from typing import Annotated, Any, Final

import bentoml
import numpy as np
from bentoml.validators import DType

from e2e.bench.serving.adapters.model import LARGEST_BATCH, Model, options

Rows = Annotated[np.ndarray, DType("float32")]  # BentoML takes an array without arguments only
GIVEN: Final = options()
QUIET: Final = {"metrics": {"enabled": False}, "logging": {"access": {"enabled": False}}} if GIVEN.tuned else {}
BATCHING: Final[dict[str, Any]] = {"batchable": True, "max_batch_size": LARGEST_BATCH} if GIVEN.batching else {}


@bentoml.service(name="bench", **QUIET)
class Service:
    """One ONNX model."""

    def __init__(self) -> None:
        self._model = Model(GIVEN.model)

    @bentoml.api(**BATCHING)  # type: ignore[untyped-decorator]
    def infer(self, x: Rows) -> Rows:
        """Run."""
        return self._model.run(x)  # type: ignore[no-any-return]
