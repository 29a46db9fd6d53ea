"""Brings gRPC calls to the door before their body is read: an interceptor, because a servicer sees a call only with its message.

Installed by `grpc_server.py` where callers are asked who they are. Whoever is refused gets a handler that reads nothing. An interceptor
is not told where a call comes from, so callers of whom nothing is known are asked about by a handler before the method's own, which is
told. It reads a stream, also where the method takes one message: a stream is read only when it is asked for. The visitor is kept in a
context variable, which grpc.aio carries from the interceptor to the method, in one task; a method that finds none fails.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import grpc

from modelward_runtime import accesslog
from modelward_runtime.access.door import Door
from modelward_runtime.errors import ApiError, BadRequest, Busy, EpsilonRefused
from modelward_runtime.exchange import Exchange
from modelward_runtime.proto import inference_pb2 as pb
from modelward_runtime.states import ANONYMOUS, Caller

SERVICE: Final = "/inference.GRPCInferenceService/"
CODES: Final = {code.name: code for code in grpc.StatusCode}
OPEN: Final = frozenset({f"{SERVICE}ServerLive", f"{SERVICE}ServerReady"})  # as /v2/health/live and /ready are
METHODS: Final = frozenset(
    SERVICE + name for name in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
)
INFERENCES: Final = frozenset({f"{SERVICE}ModelInfer", f"{SERVICE}ModelStreamInfer"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who came in, and with what: a stream shows it again for each request."""

    caller: Caller
    authorization: bytes


_NOBODY: Final = Visitor(ANONYMOUS, b"")
_VISITOR: ContextVar[Visitor] = ContextVar("visitor")


def visitor_of(door: Door) -> Visitor:
    """Who the present call is from. LookupError where a guarded door was passed by: nothing is answered then."""
    return _VISITOR.get() if door.guarded else _NOBODY


class DoorKeeper(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Lets in, or refuses without reading on."""

    def __init__(self, door: Door, exchange: Exchange) -> None:
        self._door = door
        self._exchange = exchange

    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        handler_call_details: Any,  # noqa: ANN401  grpc has no types
    ) -> Any:  # noqa: ANN401  grpc has no types
        """The method's own handler, or one that refuses."""
        method: str = handler_call_details.method
        if method in OPEN:
            return await continuation(handler_call_details)
        started = time.perf_counter()
        authorization = find_authorization(handler_call_details.invocation_metadata)
        try:
            caller = self._door.recall(authorization)
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            failure = self._turn_away(method, explain(error))
            self._account(method, failure.grpc_code, started)
            return grpc.stream_unary_rpc_method_handler(_refusal(failure))
        handler = await continuation(handler_call_details)
        if caller is None:
            return self._ask_first(method, authorization, handler)
        _VISITOR.set(Visitor(caller, authorization))
        return handler

    def _ask_first(self, method: str, authorization: bytes, handler: Any) -> Any:  # noqa: ANN401  grpc has no types
        """A handler that finds out who calls, and then is the method's own; None of a method that is not there."""

        async def answer_one(requests: Any, context: Any) -> Any:  # noqa: ANN401  grpc has no types
            await self._ask(method, authorization, context)
            if handler is None:
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            async for request in requests:
                return await handler.unary_unary(request, context)
            return await abort(context, BadRequest("the call has no message"))

        async def answer_each(requests: Any, context: Any) -> Any:  # noqa: ANN401  grpc has no types
            await self._ask(method, authorization, context)
            async for response in handler.stream_stream(requests, context):
                yield response

        if handler is None:
            return grpc.stream_unary_rpc_method_handler(answer_one)
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                answer_each, handler.request_deserializer, handler.response_serializer
            )
        return grpc.stream_unary_rpc_method_handler(
            answer_one, handler.request_deserializer, handler.response_serializer
        )

    async def _ask(self, method: str, authorization: bytes, context: Any) -> None:  # noqa: ANN401  grpc has no types
        """Find out who calls, or end the call."""
        started = time.perf_counter()
        try:
            caller = await self._door.admit(authorization, address_of(context.peer()))
        except asyncio.CancelledError:
            self._account(method, "CANCELLED", started)
            raise
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            failure = self._turn_away(method, explain(error))
        else:
            _VISITOR.set(Visitor(caller, authorization))
            return
        self._account(method, failure.grpc_code, started)
        await abort(context, failure)

    def _turn_away(self, method: str, failure: ApiError) -> ApiError:
        """What the caller is told; the audit log hears of it where it was to be an inference."""
        auditor = self._exchange.auditor
        if auditor is not None and method in INFERENCES:
            auditor.turn_away("grpc", failure)
        return failure

    def _account(self, method: str, code: str, started: float) -> None:
        self._exchange.metrics.answered("grpc", code)
        path = method if method in METHODS else accesslog.OTHER
        accesslog.record("grpc", "POST", path, code, time.perf_counter() - started, 0, 0)


def find_authorization(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    """What stands under the key `authorization`; several are joined, as HTTP joins headers, and then are no token."""
    found = [value for key, value in metadata if key == "authorization"]
    return b", ".join(value if isinstance(value, bytes) else value.encode("latin-1", "replace") for value in found)


def address_of(peer: str) -> str:
    """The address in gRPC's `ipv4:10.0.0.1:55`, `ipv6:%5Bfd00::1%5D:55`; what is no such peer stays as it is."""
    scheme, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if scheme in {"ipv4", "ipv6"} else peer


async def abort(context: Any, failure: ApiError) -> Any:  # noqa: ANN401  grpc has no types
    """End a call with an error; who is to come back later reads when in the metadata that gRPC's own retries heed."""
    if isinstance(failure, Busy):
        context.set_trailing_metadata((("grpc-retry-pushback-ms", str(failure.retry_after * 1000)),))
    if (
        isinstance(failure, EpsilonRefused) and failure.retry_after
    ):  # nobody retries a 403 by itself, so that it is told in HTTP's word
        context.set_trailing_metadata((("retry-after", str(failure.retry_after)),))
    return await context.abort(CODES[failure.grpc_code], failure.message)


def explain(error: Exception) -> ApiError:
    """What the caller is told. A flaw of ours is answered and logged, not dropped."""
    if isinstance(error, ApiError):
        return error
    _log.error("request failed unexpectedly", exc_info=error)
    return ApiError("internal error")


def _refusal(failure: ApiError) -> Callable[[Any, Any], Awaitable[Any]]:
    async def refuse(_requests: Any, context: Any) -> Any:  # noqa: ANN401  grpc has no types
        return await abort(context, failure)

    return refuse
