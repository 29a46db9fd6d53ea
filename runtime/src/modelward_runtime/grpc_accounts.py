"""How calls of gRPC end: counted, logged and followed, each once. Used by `grpc_service.py` and `grpc_inference.py`."""

import time

from modelward_runtime import accesslog
from modelward_runtime.errors import ApiError
from modelward_runtime.grpc_call import Call
from modelward_runtime.observability.trail import Trail
from modelward_runtime.shelf import Models


class Accounts:
    """Those of one server."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def follow(self, call: Call) -> Trail | None:
        """Where somebody follows requests."""
        follower = self._models.follower
        if follower is None:
            return None
        several = call.method is not None and call.method.several
        return follower.begin("grpc", *call.head.trace, streamed=several)

    def settle(
        self,
        call: Call,
        code: str,
        received: int,
        sent: int,
        started: float | None = None,
        trail: Trail | None = None,
    ) -> None:
        """What was answered; sizes in bytes, of messages."""
        (call.exchange or self._models).metrics.answered("grpc", code)
        if trail is not None:
            trail.end(code, received, sent)
        path = call.head.path if call.method is not None else accesslog.OTHER
        seconds = time.perf_counter() - (call.started if started is None else started)
        accesslog.record("grpc", "POST", path, code, seconds, received, sent)

    def answer(self, call: Call, parts: "list[bytes | memoryview]", received: int, trail: Trail | None = None) -> None:
        """Answer with a message in parts."""
        size = sum(map(len, parts))
        call.answer(parts, size)
        self.settle(call, "OK", received, size, trail=trail)

    def fail(self, call: Call, failure: ApiError, received: int, trail: Trail | None = None) -> None:
        """Answer with an error."""
        self.settle(call, failure.grpc_code, received, 0, trail=trail)
        call.fail(failure)
