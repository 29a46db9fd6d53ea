"""Ray Serve: a deployment of one replica (docs.ray.io/en/latest/serve), at the protocol's path and with the protocol's JSON."""

import signal
from typing import Any

import numpy as np
import ray
from ray import serve
from starlette.requests import Request

from e2e.bench.serving.adapters.model import LARGEST_BATCH, LONGEST_WAIT, Model, Options, options, rows_of, told


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Single:
    """One ONNX model, a run for each request."""

    def __init__(self, given: Options) -> None:
        self._model, self._name = Model(given.model), given.name

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Decode, run, encode."""
        return told(self._name, self._model.run(rows_of(await request.json())))


@serve.deployment(ray_actor_options={"num_cpus": 0})
class Batched:
    """One ONNX model, a run for the requests that wait together."""

    def __init__(self, given: Options) -> None:
        self._model, self._name = Model(given.model), given.name

    @serve.batch(max_batch_size=LARGEST_BATCH, batch_wait_timeout_s=LONGEST_WAIT)  # type: ignore[untyped-decorator]
    async def _run(self, rows: list[Any]) -> list[Any]:
        found = self._model.run(np.concatenate(rows))
        return [found[at : at + 1] for at in range(len(rows))]

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Decode, run, encode."""
        return told(self._name, await self._run(rows_of(await request.json())))


def main() -> None:
    """Serve until a signal."""
    given = options()
    ray.init(num_cpus=1, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": given.rest})
    quiet = {"logging_config": {"enable_access_log": False}} if given.tuned else {}
    deployment: Any = Batched if given.batching else Single
    serve.run(deployment.bind(given), route_prefix=f"/v2/models/{given.name}/infer", **quiet)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
