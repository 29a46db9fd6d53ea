"""MLServer: a custom runtime with its own codec, as its guide shows (docs.seldon.ai/mlserver/user-guide/custom)."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri

from e2e.bench.serving.adapters.model import Model


class OnnxRuntime(MLModel):  # type: ignore[misc]  # the package is not installed here
    """One ONNX model."""

    async def load(self) -> bool:
        """Read the model."""
        self._model = Model(await get_model_uri(self._settings, wellknown_filenames=["model.onnx"]))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Decode, run, encode."""
        rows = self._model.run(NumpyCodec.decode_input(payload.inputs[0]))
        outputs = [NumpyCodec.encode_output("y", rows)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
