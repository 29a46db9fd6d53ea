"""Calls one served model over TLS, by REST and by gRPC, with any `authorization` at all; the answer in the same words for both."""

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import grpc

from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc

ROWS = [1.0, 2.0, 3.0, 4.0]
_NAMES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
Header = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Answer:
    """`code` by gRPC's name, `OK` for an answer; what else was said with it."""

    code: str
    words: str
    extra: dict[str, str]


class Caller(Protocol):
    """One transport."""

    def infer(self, authorization: Header, model: str = "m") -> Answer:
        """Predict."""

    def ask(self, what: str, authorization: Header = None) -> Answer:
        """Ask for something else: `live`, `ready`, `model_ready`, `server`, `model`, `index`, `nothing`."""

    def close(self) -> None:
        """Hang up."""


def values(authorization: Header) -> tuple[str, ...]:
    return (authorization,) if isinstance(authorization, str) else authorization or ()


class Rest:
    """HTTP/1.1 with the standard library, which sends what it is told to."""

    paths: ClassVar[dict[str, str]] = {
        "live": "/v2/health/live", "ready": "/v2/health/ready", "model_ready": "/v2/models/m/ready", "server": "/v2",
        "model": "/v2/models/m", "index": "/v2/repository/index", "nothing": "/v2/nothing",
    }  # fmt: skip

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self.connection = http.client.HTTPSConnection("localhost", port, timeout=90, context=trust)

    def infer(self, authorization: Header, model: str = "m") -> Answer:
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": ROWS}
        return self.send("POST", f"/v2/models/{model}/infer", authorization, json.dumps({"inputs": [tensor]}).encode())

    def ask(self, what: str, authorization: Header = None) -> Answer:
        return self.send("POST" if what == "index" else "GET", self.paths[what], authorization)

    def send(self, method: str, path: str, authorization: Header, body: bytes = b"") -> Answer:
        self.connection.putrequest(method, path)
        self.connection.putheader("content-length", str(len(body)))
        for value in values(authorization):
            self.connection.putheader("authorization", value)
        self.connection.endheaders(body)
        answer = self.connection.getresponse()
        content, extra = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        if answer.status == 200:
            return Answer("OK", "", extra)
        return Answer(_NAMES[answer.status], json.loads(content)["error"], extra)

    def close(self) -> None:
        self.connection.close()


class Grpc:
    """gRPC with the generated stubs."""

    methods: ClassVar[dict[str, Any]] = {
        "live": ("ServerLive", pb.ServerLiveRequest()), "ready": ("ServerReady", pb.ServerReadyRequest()),
        "model_ready": ("ModelReady", pb.ModelReadyRequest(name="m")), "server": ("ServerMetadata", pb.ServerMetadataRequest()),
        "model": ("ModelMetadata", pb.ModelMetadataRequest(name="m")), "index": ("RepositoryIndex", pb.RepositoryIndexRequest()),
    }  # fmt: skip

    def __init__(self, port: int, ca: bytes) -> None:
        self.channel = grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(ca))
        self.stub = pb_grpc.GRPCInferenceServiceStub(self.channel)

    def infer(self, authorization: Header, model: str = "m") -> Answer:
        return self.send(self.stub.ModelInfer, request(model), authorization)

    def ask(self, what: str, authorization: Header = None) -> Answer:
        if what == "nothing":
            return self.send(self.channel.unary_unary("/inference.GRPCInferenceService/Nothing"), b"", authorization)
        method, message = self.methods[what]
        return self.send(getattr(self.stub, method), message, authorization)

    def send(self, method: Any, message: Any, authorization: Header) -> Answer:
        metadata = [("authorization", value) for value in values(authorization)]
        try:
            method(message, metadata=metadata, timeout=90)
        except grpc.RpcError as error:
            trailing = {key: str(value) for key, value in error.trailing_metadata() or ()}
            return Answer(error.code().name, error.details() or "", trailing)
        return Answer("OK", "", {})

    def close(self) -> None:
        self.channel.close()


def request(model: str = "m", rows: int = 1) -> Any:
    """The message of one prediction."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[rows, 4])
    tensor.contents.fp32_contents.extend(ROWS * rows)
    return pb.ModelInferRequest(model_name=model, inputs=[tensor])
