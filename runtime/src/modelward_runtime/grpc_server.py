"""The Open Inference Protocol v2 over gRPC, on grpc.aio: the same exchange, the same errors word for word.

Composed by `ports.py`, which adds a port, starts and stops it. What an inference is, `exchange.py` and `protobuf.py` know; who calls,
`grpc_door.py` finds out before.

gRPC has no `Connection: close`. Only HTTP/2's GOAWAY moves a client, and this library sends one in two cases: at `stop`, when
it is too late (calls that are on the wire by then end as CANCELLED, which nobody retries), and when a connection has reached its
age. So every connection's age is short enough for its end to fall into a drain, while calls are still answered.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from modelward_runtime import accesslog
from modelward_runtime.access.door import Door
from modelward_runtime.audit.entry import Entry, audited
from modelward_runtime.errors import Forbidden, PredictForbidden, Unauthenticated
from modelward_runtime.exchange import EXTENSIONS, PLATFORM, SERVER_NAME, SERVER_VERSION, Exchange
from modelward_runtime.grpc_door import SERVICE, DoorKeeper, Visitor, abort, address_of, explain, visitor_of
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.proto import inference_pb2_grpc as pb_grpc
from modelward_runtime.protobuf import GrpcCall
from modelward_runtime.states import Caller

Message = Any  # a generated message: the generator gives no types
Context = Any  # grpc.aio.ServicerContext

_MOST_METADATA = 1 << 16  # bytes, as many as a head over REST may have: the default is shorter than some tokens
_AGE = 0.6  # of the drain, give or take a tenth: what was opened in the drain's first third still leaves within it


def create(exchange: Exchange, door: Door, *, max_body_bytes: int, drain_seconds: float = 0) -> grpc.aio.Server:
    """A server without a port; needs a running event loop. Its clients come anew before `drain_seconds` are over, if not 0."""
    options = [
        ("grpc.max_receive_message_length", max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", _MOST_METADATA),
        ("grpc.so_reuseport", 0),  # a second server on the port is a mistake, not a partner
    ]
    if drain_seconds:
        options.append(("grpc.max_connection_age_ms", round(_AGE * drain_seconds * 1000)))
    keepers = [DoorKeeper(door, exchange)] if door.guarded else []
    server = grpc.aio.server(interceptors=keepers, options=options)
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(Service(exchange, door), server)
    return server


class Service:
    """The methods of the service; names and signatures are the protocol's."""

    def __init__(self, exchange: Exchange, door: Door) -> None:
        self._exchange = exchange
        self._door = door

    async def ModelInfer(self, request: Message, context: Context) -> Message:  # noqa: N802
        """One inference."""
        visitor = visitor_of(self._door)
        return await self._answer("ModelInfer", request, context, lambda: self._infer(request, context, visitor))

    async def ModelStreamInfer(self, requests: AsyncIterator[Message], context: Context) -> AsyncIterator[Message]:  # noqa: N802
        """Inferences one after the other on one stream; an error answers its request and ends nothing, but for a lost right."""
        visitor = visitor_of(self._door)
        async for request in requests:
            started = time.perf_counter()
            try:
                answer = await self._infer(request, context, visitor, again=True)
                response = pb.ModelStreamInferResponse(infer_response=answer)
                code = "OK"
            except (Unauthenticated, PredictForbidden) as lost:
                self._account("ModelStreamInfer", lost.grpc_code, started, request, None)
                await abort(context, lost)
            except Exception as error:  # noqa: BLE001 - the last border, see `explain`
                failure = explain(error)
                response = pb.ModelStreamInferResponse(error_message=failure.message)
                response.infer_response.id = request.id
                code = failure.grpc_code
            self._account("ModelStreamInfer", code, started, request, response)
            yield response

    async def ServerLive(self, request: Message, context: Context) -> Message:  # noqa: N802
        """The process answers."""
        return await self._inform("ServerLive", request, context, lambda: pb.ServerLiveResponse(live=True))

    async def ServerReady(self, request: Message, context: Context) -> Message:  # noqa: N802
        """The model is loaded and the server is not on its way out."""
        return await self._inform(
            "ServerReady", request, context, lambda: pb.ServerReadyResponse(ready=self._exchange.ready)
        )

    async def ModelReady(self, request: Message, context: Context) -> Message:  # noqa: N802
        """The same, of a model by name."""
        return await self._inform("ModelReady", request, context, lambda: self._model_ready(request))

    async def ServerMetadata(self, request: Message, context: Context) -> Message:  # noqa: N802
        """Name, version, extensions."""
        return await self._inform(
            "ServerMetadata",
            request,
            context,
            lambda: pb.ServerMetadataResponse(name=SERVER_NAME, version=SERVER_VERSION, extensions=EXTENSIONS),
        )

    async def ModelMetadata(self, request: Message, context: Context) -> Message:  # noqa: N802
        """The model's tensors."""
        return await self._inform("ModelMetadata", request, context, lambda: self._model_metadata(request))

    async def RepositoryIndex(self, request: Message, context: Context) -> Message:  # noqa: N802
        """The one model there is."""
        return await self._inform("RepositoryIndex", request, context, lambda: self._index(request))

    async def RepositoryModelLoad(self, request: Message, context: Context) -> Message:  # noqa: N802
        """Never allowed: one server serves one model."""
        return await self._inform("RepositoryModelLoad", request, context, lambda: _refuse("load"))

    async def RepositoryModelUnload(self, request: Message, context: Context) -> Message:  # noqa: N802
        """Never allowed: one server serves one model."""
        return await self._inform("RepositoryModelUnload", request, context, lambda: _refuse("unload"))

    async def _infer(self, request: Message, context: Context, visitor: Visitor, *, again: bool = False) -> Message:
        """One inference, recorded; `again`: the visitor is asked for each request of a stream."""

        async def work(entry: Entry | None) -> Message:
            size = request.ByteSize()
            if entry is not None:
                entry.request_bytes = size
            caller = visitor.caller
            if again:
                caller = await self._door.admit(visitor.authorization, address_of(context.peer()))
            if entry is not None:
                entry.identify(caller)
            return await self._run(request, size, context, caller, entry)

        return await audited(self._exchange.auditor, "grpc", work, lambda response: int(response.ByteSize()))

    async def _run(self, request: Message, size: int, context: Context, caller: Caller, entry: Entry | None) -> Message:
        seconds = self._exchange.limits.request_timeout
        remaining = context.time_remaining()
        if remaining is not None:
            seconds = min(seconds, remaining)
        deadline = asyncio.get_running_loop().time() + seconds
        with self._door.enter(caller), self._exchange.bodies.hold() as hold:
            hold.reach(size)
            return await self._exchange.infer(GrpcCall(request, size), caller, deadline, entry)

    async def _inform(self, method: str, request: Message, context: Context, make: Callable[[], Message]) -> Message:
        async def answer() -> Message:
            return make()

        return await self._answer(method, request, context, answer)

    async def _answer(
        self, method: str, request: Message, context: Context, work: Callable[[], Awaitable[Message]]
    ) -> Message:
        """Do the work; an `ApiError` becomes the call's status. Count and log either way."""
        started = time.perf_counter()
        try:
            response = await work()
        except asyncio.CancelledError:
            self._account(method, "CANCELLED", started, request, None)
            raise
        except Exception as error:  # noqa: BLE001 - the last border, see `explain`
            failure = explain(error)
        else:
            self._account(method, "OK", started, request, response)
            return response
        self._account(method, failure.grpc_code, started, request, None)
        return await abort(context, failure)

    def _account(self, method: str, code: str, started: float, request: Message, response: Message | None) -> None:
        self._exchange.metrics.answered("grpc", code)
        sent = response.ByteSize() if response is not None else 0
        seconds = time.perf_counter() - started
        accesslog.record("grpc", "POST", SERVICE + method, code, seconds, request.ByteSize(), sent)

    def _model_ready(self, request: Message) -> Message:
        self._exchange.check_name(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._exchange.ready)

    def _model_metadata(self, request: Message) -> Message:
        model = self._exchange.describe(request.name, request.version)
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=[model.version],
            platform=PLATFORM,
            inputs=[tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in model.inputs],
            outputs=[tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape) for spec in model.outputs],
        )

    def _index(self, request: Message) -> Message:
        response = pb.RepositoryIndexResponse()
        for entry in self._exchange.index(only_ready=request.ready):
            response.models.add(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        return response


def _refuse(action: str) -> Message:
    raise Forbidden(f"{action}: the model of this server is fixed by its manifest")
