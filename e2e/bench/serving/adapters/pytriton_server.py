"""PyTriton: a function bound to a Triton server (triton-inference-server.github.io/pytriton), which its wheel brings."""

from typing import Any

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from e2e.bench.serving.adapters.model import LARGEST_BATCH, Model, options


def main() -> None:
    """Serve."""
    given = options()
    model = Model(given.model)

    @batch  # type: ignore[untyped-decorator]  # the package is not installed here
    def infer(x: Any) -> list[Any]:
        return [model.run(x)]

    tuned = ModelConfig(max_batch_size=LARGEST_BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0))
    ports = {"http_port": given.rest, "grpc_port": given.grpc, "metrics_port": given.admin}
    config = TritonConfig(http_address="127.0.0.1", grpc_address="127.0.0.1", metrics_address="127.0.0.1", **ports)
    with Triton(config=config) as triton:
        triton.bind(
            model_name=given.name,
            infer_func=infer,
            inputs=[Tensor(name="x", dtype=np.float32, shape=given.shape)],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(-1,))],
            config=tuned if given.batching else ModelConfig(),
            strict=False,
        )
        triton.serve()


if __name__ == "__main__":
    main()
