"""KServe's Python SDK: a custom model, as its guide shows (kserve.github.io, “Deploy Custom Python Serving Runtime”).

    python -m e2e.conformance.peers.kserve_server --folder DIR --http_port N --grpc_port N

Every folder of DIR with a model.onnx is a model. The work runs in a thread, so that the server's loop stays free.
"""

import argparse
import asyncio
import struct
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kserve
import numpy as np
from kserve.errors import InvalidInput
from kserve.model_server import parser as kserve_parser

from e2e.conformance.peers.onnx_model import OnnxModel, Tensor, servable, words


class Model(kserve.Model):  # type: ignore[misc]  # the package is not installed here
    """One ONNX model."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        self._path = path
        self.load()

    def load(self) -> bool:
        """Read the model."""
        self._model = OnnxModel(self._path)
        self.ready = True
        return True

    def get_input_types(self) -> list[dict[str, Any]]:
        """For the metadata."""
        return _metadata(self._model.inputs)

    def get_output_types(self) -> list[dict[str, Any]]:
        """For the metadata."""
        return _metadata(self._model.outputs)

    async def predict(
        self,
        payload: kserve.InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> kserve.InferResponse:
        """Decode, run, encode; whatever the request caused is InvalidInput, KServe's 400."""
        wanted = [output.name for output in payload.request_outputs or ()]
        try:
            self._model.check([Tensor(given.name, given.datatype, given.shape) for given in payload.inputs], wanted)
            arrays = {given.name: _decode(given) for given in payload.inputs}
            found = await asyncio.to_thread(self._model.run, arrays, wanted)
        except (ValueError, TypeError, OverflowError, struct.error) as error:
            raise InvalidInput(str(error)) from error
        datatypes = {tensor.name: tensor.datatype for tensor in self._model.outputs}
        return kserve.InferResponse(
            model_name=self.name,
            response_id=payload.id or str(uuid.uuid4()),
            infer_outputs=[_encode(name, datatypes[name], found[name], payload) for name in found],
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )


def _metadata(tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    return [{"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in tensors]


def _decode(given: kserve.InferInput) -> Any:
    array = given.as_numpy()
    if given.datatype != "BYTES":
        return array
    return np.array(words(array.ravel()), np.object_).reshape(array.shape)


def _encode(name: str, datatype: str, array: Any, payload: kserve.InferRequest) -> kserve.InferOutput:
    output = kserve.InferOutput(name=name, shape=list(array.shape), datatype=datatype)
    output.set_data_from_numpy(array, binary_data=payload.use_binary_outputs)
    return output


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(parents=[kserve_parser])
    parser.add_argument("--folder", type=Path, required=True)
    options, _ = parser.parse_known_args()
    paths = sorted(options.folder.glob("*/model.onnx"))
    kserve.ModelServer().start([Model(path.parent.name, path) for path in paths if servable(path)])


if __name__ == "__main__":
    main()
