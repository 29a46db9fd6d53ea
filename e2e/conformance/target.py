"""The server under test, as rules see it: an HTTP client that hides nothing, a socket, and the gRPC stub of tritonclient.

`http.client` and plain sockets, because a library that retries, pools or repairs would hide what a server does.
"""

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

Json = dict[str, Any]
PATIENCE = 30.0
X_ROWS = [[1.0, 2.0, 3.0, 4.0], [-0.5, 0.25, 8.0, 0.0]]
DOUBLE = [value + value for row in X_ROWS for value in row]
TOTAL = [sum(row) for row in X_ROWS]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON. Fails as an assertion, because a client would."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise AssertionError(f"status {self.status}, and the body is no JSON: {self.body[:200]!r}") from None

    def ok(self) -> "Answer":
        """Itself, when it is a 200."""
        assert self.status == 200, f"expected status 200, got {self.status}: {self.body[:300]!r}"
        return self

    def refused(self, *statuses: int) -> str:
        """The text of its JSON error object, when it is a 4xx, or one of `statuses`."""
        right = self.status in statuses if statuses else 400 <= self.status < 500
        wanted = " or ".join(map(str, statuses)) or "a 4xx"
        assert right, f"expected {wanted}, got {self.status}: {self.body[:300]!r}"
        error = self.json.get("error") if isinstance(self.json, dict) else None
        assert isinstance(error, str) and error, f'expected {{"error": "…"}}, got {self.body[:300]!r}'
        return error


@dataclass(frozen=True)
class Endpoint:
    """Where one model is served."""

    rest: str
    grpc: str
    model: str


@dataclass
class Target:
    """A model of a server. `token` goes into every request as a bearer token."""

    endpoint: Endpoint
    token: str = ""
    timeout: float = PATIENCE
    _channel: grpc.Channel | None = field(default=None, repr=False)

    @property
    def model(self) -> str:
        """The model's name."""
        return self.endpoint.model

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the REST side."""
        parts = urlsplit(self.endpoint.rest)
        return parts.hostname or "127.0.0.1", parts.port or 80

    @property
    def infer_path(self) -> str:
        """The path of inferences."""
        return f"/v2/models/{self.model}/infer"

    def http(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(*self.address, timeout=self.timeout)
        try:
            connection.request(method, path, body=body, headers={**self._authorization(), **(headers or {})})
            return _read(connection.getresponse())
        except (OSError, http.client.HTTPException) as error:
            raise AssertionError(f"{method} {path}: no HTTP answer: {type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        """GET."""
        return self.http("GET", path)

    def post(self, path: str, content: Any) -> Answer:
        """POST of JSON."""
        return self.http("POST", path, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def infer(self, content: Any) -> Answer:
        """An inference of JSON."""
        return self.post(self.infer_path, content)

    def binary(self, header: Json, tensors: bytes, *, announced: int | None = None) -> Answer:
        """An inference of JSON followed by binary tensors; `announced` lies about the JSON's length."""
        text = json.dumps(header).encode()
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(text) if announced is None else announced),
        }
        return self.http("POST", self.infer_path, text + tensors, headers)

    @contextlib.contextmanager
    def connect(self) -> Iterator[socket.socket]:
        """A plain TCP connection to the REST side."""
        with socket.create_connection(self.address, timeout=self.timeout) as wire:
            yield wire

    def head(self, method: str, path: str, *lines: str) -> bytes:
        """A request head for `connect`, with Host and what `lines` say."""
        given = [f"{name}: {value}" for name, value in self._authorization().items()]
        return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {self.address[0]}", *given, *lines, "", ""]).encode()

    @property
    def stub(self) -> Any:
        """The gRPC stub, on a channel that is kept."""
        if self._channel is None:
            self._channel = grpc.insecure_channel(self.endpoint.grpc)
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def call(self, method: str, request: Any, timeout: float | None = None) -> Any:
        """One unary call that must succeed."""
        try:
            return getattr(self.stub, method)(request, timeout=timeout or self.timeout, metadata=self.metadata)
        except grpc.RpcError as error:
            raise AssertionError(f"{method}: {error.code().name}: {error.details()}") from error

    def fails(self, method: str, request: Any, *codes: grpc.StatusCode, timeout: float | None = None) -> str:
        """The text with which one unary call fails, by one of `codes`."""
        try:
            answer = getattr(self.stub, method)(request, timeout=timeout or self.timeout, metadata=self.metadata)
        except grpc.RpcError as error:
            wanted = " or ".join(code.name for code in codes)
            assert error.code() in codes, f"expected {wanted}, got {error.code().name}: {error.details()}"
            return str(error.details())
        raise AssertionError(f"{method}: expected a failure, got an answer: {str(answer)[:300]}")

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with each gRPC call."""
        return tuple((name.lower(), value) for name, value in self._authorization().items())

    def close(self) -> None:
        """Let the channel go."""
        if self._channel is not None:
            self._channel.close()

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


def _read(response: http.client.HTTPResponse) -> Answer:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def read_answer(wire: socket.socket) -> Answer:
    """Read one HTTP answer off a plain connection."""
    response = http.client.HTTPResponse(wire)
    response.begin()
    return _read(response)


def numbers(**more: Any) -> Json:
    """A sound inference of the model `numbers`."""
    return {"inputs": [tensor("x", "FP32", [2, 4], [value for row in X_ROWS for value in row])], **more}


def tensor(name: str, datatype: str, shape: Sequence[int], data: Any, **more: Any) -> Json:
    """One input tensor in JSON."""
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": data, **more}


def outputs_of(answer: Answer) -> dict[str, Json]:
    """The outputs of a successful inference by name."""
    content = answer.ok().json
    outputs = content.get("outputs")
    assert isinstance(outputs, list), f"no list of outputs: {content}"
    return {output["name"]: output for output in outputs}


def flat(data: Any) -> list[Any]:
    """JSON tensor data in row-major order, however it nests."""
    if not isinstance(data, list):
        return [data]
    return [value for item in data for value in flat(item)]


def request(
    target: Target, *inputs: pb.ModelInferRequest.InferInputTensor, raw: Sequence[bytes] = (), **more: Any
) -> pb.ModelInferRequest:
    """An inference for gRPC."""
    return pb.ModelInferRequest(model_name=target.model, inputs=inputs, raw_input_contents=raw, **more)


def input_tensor(
    name: str, datatype: str, shape: Sequence[int], **contents: Any
) -> pb.ModelInferRequest.InferInputTensor:
    """One input tensor for gRPC; `contents` as `fp32_contents=[…]`."""
    made = pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    if contents:
        made.contents.CopyFrom(pb.InferTensorContents(**contents))
    return made
