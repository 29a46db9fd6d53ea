"""KServe's Python SDK: a custom model, as its guide shows (kserve.github.io, “Deploy Custom Python Serving Runtime”)."""

import uuid
from typing import Any

import kserve

from e2e.bench.serving.adapters.model import Model, Options, options


class OnnxRuntime(kserve.Model):  # type: ignore[misc]  # the package is not installed here
    """One ONNX model."""

    def __init__(self, given: Options) -> None:
        super().__init__(given.name)
        self._model = Model(given.model)
        self.ready = True

    async def predict(
        self,
        payload: kserve.InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> kserve.InferResponse:
        """Decode, run, encode."""
        rows: Any = self._model.run(payload.inputs[0].as_numpy())
        output = kserve.InferOutput(name="y", shape=list(rows.shape), datatype="FP32")
        output.set_data_from_numpy(rows, binary_data=payload.use_binary_outputs)
        return kserve.InferResponse(
            model_name=self.name,
            response_id=payload.id or str(uuid.uuid4()),
            infer_outputs=[output],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


def main() -> None:
    """Serve."""
    given = options()
    quiet = {"enable_latency_logging": False} if given.tuned else {}
    server = kserve.ModelServer(http_port=given.rest, grpc_port=given.grpc, **quiet)
    server.start([OnnxRuntime(given)])


if __name__ == "__main__":
    main()
