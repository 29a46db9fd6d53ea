"""The methods of the Open Inference Protocol v2 over gRPC, and the answers of those that infer nothing.

Used by `grpc_service.py`. Names and messages are the protocol's.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from modelward_runtime.errors import ApiError
from modelward_runtime.exchange import EXTENSIONS, PLATFORM, SERVER_NAME, SERVER_VERSION
from modelward_runtime.proto import messages
from modelward_runtime.shelf import Models
from modelward_runtime.wire import parse

Proto = Any  # a generated message: the generator gives no types

SERVICE: Final = "/inference.GRPCInferenceService/"


class Method(NamedTuple):
    """One of the protocol's: the message that it takes, and what makes its answer at once, or the `action` upon a model that takes time.

    Without either it is an inference, of one message or of `several`.
    """

    name: str
    request: str = ""
    make: Callable[[Proto], Proto] | None = None
    several: bool = False
    action: str = ""

    @property
    def infers(self) -> bool:
        """It is an inference."""
        return self.make is None and not self.action

    def parse(self, content: bytes | memoryview) -> Proto:
        """Its message. Raises `BadRequest`."""
        return parse(self.request, content)


class NoMethod(ApiError):
    """There is no such method."""

    status = 404
    grpc_code = "UNIMPLEMENTED"

    def __init__(self) -> None:
        super().__init__("Method not found!")


def methods_of(models: Models) -> dict[str, Method]:
    """All of them, by their paths."""

    def model_ready(request: Proto) -> Proto:
        exchange = models.find(request.name)
        exchange.check_name(request.name, request.version)
        return messages().ModelReadyResponse(ready=exchange.ready)

    def model_metadata(request: Proto) -> Proto:
        model = models.find(request.name).describe(request.name, request.version)
        answer = messages().ModelMetadataResponse
        tensor = answer.TensorMetadata
        return answer(
            name=model.name,
            versions=[model.version],
            platform=PLATFORM,
            inputs=[tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in model.inputs],
            outputs=[tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in model.outputs],
        )

    def index(request: Proto) -> Proto:
        response = messages().RepositoryIndexResponse()
        for entry in models.index(only_ready=request.ready):
            response.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        return response

    methods = (
        Method("ModelInfer"),  # one inference
        Method("ModelStreamInfer", several=True),  # one after the other; an error answers its request and ends nothing
        Method("ServerLive", "ServerLiveRequest", lambda _: messages().ServerLiveResponse(live=True)),
        Method("ServerReady", "ServerReadyRequest", lambda _: messages().ServerReadyResponse(ready=models.ready)),
        Method("ModelReady", "ModelReadyRequest", model_ready),
        Method("ServerMetadata", "ServerMetadataRequest", _server_metadata),
        Method("ModelMetadata", "ModelMetadataRequest", model_metadata),
        Method("RepositoryIndex", "RepositoryIndexRequest", index),
        Method("RepositoryModelLoad", "RepositoryModelLoadRequest", action="load"),
        Method("RepositoryModelUnload", "RepositoryModelUnloadRequest", action="unload"),
    )
    return {SERVICE + method.name: method for method in methods}


def _server_metadata(_request: Proto) -> Proto:
    return messages().ServerMetadataResponse(name=SERVER_NAME, version=SERVER_VERSION, extensions=EXTENSIONS)
