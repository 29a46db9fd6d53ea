"""LitServe: a LitAPI (lightning.ai/docs/litserve) at the protocol's path, and with the protocol's JSON, for which it has no code."""

from typing import Any

import litserve
import numpy as np

from e2e.bench.serving.adapters.model import LARGEST_BATCH, LONGEST_WAIT, Model, Options, options, rows_of, told


class OnnxRuntime(litserve.LitAPI):  # type: ignore[misc]  # the package is not installed here
    """One ONNX model."""

    def __init__(self, given: Options) -> None:
        batching = {"max_batch_size": LARGEST_BATCH, "batch_timeout": LONGEST_WAIT} if given.batching else {}
        super().__init__(api_path=f"/v2/models/{given.name}/infer", **batching)
        self._given = given

    def setup(self, device: str) -> None:
        """Read the model, in the worker."""
        self._model = Model(self._given.model)

    def decode_request(self, request: dict[str, Any]) -> Any:
        """The rows."""
        return rows_of(request)

    def batch(self, inputs: list[Any]) -> Any:
        """Rows of several callers."""
        return np.concatenate(inputs)

    def predict(self, x: Any) -> Any:
        """Run."""
        return self._model.run(x)

    def unbatch(self, output: Any) -> list[Any]:
        """One row each."""
        return [output[at : at + 1] for at in range(len(output))]

    def encode_response(self, output: Any) -> dict[str, Any]:
        """The answer."""
        return told(self._given.name, output)


def main() -> None:
    """Serve."""
    given = options()
    server = litserve.LitServer(OnnxRuntime(given), accelerator="cpu", devices=1, fast_queue=given.tuned)
    quiet = {"log_level": "warning", "access_log": False} if given.tuned else {}
    server.run(host="127.0.0.1", port=given.rest, generate_client_file=False, **quiet)


if __name__ == "__main__":
    main()
