"""MLServer: a custom runtime, as its guide shows (docs.seldon.ai/mlserver/user-guide/custom), with its own codecs.

`mlserver start FOLDER`, with a `model-settings.json` beside each model; see `catalogue.py`.
"""

import asyncio
import struct
from typing import Any

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.codecs.numpy import to_datatype
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor, RequestInput, ResponseOutput
from mlserver.utils import get_model_uri

from e2e.conformance.peers.onnx_model import OnnxModel, Tensor, words


class OnnxRuntime(MLModel):  # type: ignore[misc]  # the package is not installed here
    """One ONNX model."""

    async def load(self) -> bool:
        """Read the model; its metadata come from it."""
        self._model = OnnxModel(await get_model_uri(self._settings, wellknown_filenames=["model.onnx"]))
        self.inputs = [_metadata(tensor) for tensor in self._model.inputs]
        self.outputs = [_metadata(tensor) for tensor in self._model.outputs]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Decode, run, encode; whatever the request caused is an InferenceError, MLServer's 400."""
        wanted = [output.name for output in payload.outputs or ()]
        try:
            self._model.check([_tensor(given) for given in payload.inputs], wanted)
            arrays = {given.name: _decode(given) for given in payload.inputs}
            found = await asyncio.to_thread(self._model.run, arrays, wanted)
        except (ValueError, TypeError, OverflowError, struct.error) as error:
            raise InferenceError(str(error)) from error
        outputs = [_encode(name, array) for name, array in found.items()]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)


def _metadata(tensor: Tensor) -> MetadataTensor:
    return MetadataTensor(name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape))


def _tensor(given: RequestInput) -> Tensor:
    return Tensor(given.name, str(getattr(given.datatype, "value", given.datatype)), given.shape)


def _decode(given: RequestInput) -> Any:
    if _tensor(given).datatype == "BYTES":
        return np.array(words(getattr(given.data, "root", given.data)), np.object_).reshape(given.shape)
    return NumpyCodec.decode_input(given)


def _encode(name: str, array: Any) -> ResponseOutput:
    """As the codecs do it, but for what they change: an axis more on a vector, and None for NaN, which gRPC cannot carry."""
    if array.dtype == np.object_:
        output = StringCodec.encode_output(name, array.ravel().tolist())
        output.shape = list(array.shape)
        return output
    return ResponseOutput(
        name=name, datatype=to_datatype(array.dtype), shape=list(array.shape), data=array.ravel().tolist()
    )
