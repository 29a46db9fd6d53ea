"""Calls over gRPC: what becomes of each on its way from a caller to a pod, and what is answered here.

Made by `ports.py` for each model's port; told by `calling.py` of each call. It stands on the pods' own HTTP/2
(`modelward_runtime.http2`), and passes bytes: a call has its windows in memory and nothing else, room for them is taken before anything is
read, and what has come of a body waits there until a pod takes it. While no pod is there, the beginning of the first message is looked at:
who asks for another model wakes nobody (`framing.py`).

A connection ends by its age, and soon: so whoever was held here is back at the Service's address two seconds later, where the pods are by
then.
"""

import asyncio
import logging
import time
from typing import Final

from modelward_runtime import accesslog
from modelward_runtime.activator.calling import Call
from modelward_runtime.activator.carrying import carry
from modelward_runtime.activator.errors import CallsFull, NoMethod, NotServed
from modelward_runtime.activator.framing import INFERENCE, read_names
from modelward_runtime.activator.metrics import Metrics
from modelward_runtime.activator.route import LiveRoute
from modelward_runtime.activator.share import PER_CALL
from modelward_runtime.activator.tunnel import PATIENCE
from modelward_runtime.errors import ApiError, DeadlineExceeded, Forbidden
from modelward_runtime.grpc_head import ANSWER, CODES, OK
from modelward_runtime.http2.hpack import Fields
from modelward_runtime.http2.pieces import Lost

AGE: Final = 2.0  # seconds of a connection, give or take a tenth
SERVICE: Final = "/inference.GRPCInferenceService/"
OPEN: Final = frozenset({"ServerLive", "ServerReady"})  # as /v2/health/live and /ready are
_ASKS: Final = {  # methods, and the message that names a model
    "ModelInfer": INFERENCE,
    "ModelStreamInfer": INFERENCE,
    "ModelMetadata": "ModelMetadataRequest",
    "ModelReady": "ModelReadyRequest",
}
_CHANGES: Final = frozenset({"RepositoryModelLoad", "RepositoryModelUnload"})
_METHODS: Final = frozenset({*OPEN, *_ASKS, *_CHANGES, "ServerMetadata", "RepositoryIndex"})
_TRUE: Final = b"\x08\x01"  # ServerLiveResponse, ServerReadyResponse and ModelReadyResponse have one field, a bool
_NAMES: Final = {b"%d" % number: name for name, number in CODES.items()}
_log = logging.getLogger(__name__)


class Methods:
    """One model's."""

    def __init__(self, live: LiveRoute, metrics: Metrics) -> None:
        self._live = live
        self._metrics = metrics

    def enter(self, call: Call) -> None:
        """A call begins, of whose body nothing has been read."""
        name = call.head.path.removeprefix(SERVICE)
        if name in OPEN:
            self._tell(call, holds=name == "ServerLive" or self._live.refusal is None)
            self._account(call, "OK")
        elif self._live.memory.take(PER_CALL):
            call.work(self._serve(call)).add_done_callback(lambda _: self._live.memory.give_back(PER_CALL))
        else:
            self._account(call, self._fail(call, CallsFull()))

    async def _serve(self, call: Call) -> None:
        """Let somebody in, do the work, and account for it."""
        code = "CANCELLED"
        try:
            async with asyncio.timeout_at(call.deadline):
                code = await self._answer(call)
        except Lost:
            pass  # there is nobody to be answered
        except TimeoutError:
            code = self._fail(call, DeadlineExceeded("the deadline passed before the answer was there"))
        except ApiError as error:
            code = self._fail(call, error)
        except Exception:  # noqa: BLE001  the last border: a flaw of ours is answered and logged, not dropped
            _log.exception("request failed unexpectedly")
            code = self._fail(call, ApiError("internal error"))
        finally:
            self._account(call, code)

    async def _answer(self, call: Call) -> str:
        """The code of the answer. Raises `ApiError`, for all that no pod would serve, too; `Lost`, TimeoutError."""
        name, live = call.head.path.removeprefix(SERVICE), self._live
        await live.door.admit(call.head.authorization, call.connection.peer)
        if name not in _METHODS:
            raise NoMethod
        if name in _CHANGES:
            raise Forbidden("the model of this server is fixed by its manifest")
        if name in _ASKS and not live.has_pods:
            await self._check_names(call, _ASKS[name])
            if name == "ModelReady" and not live.has_pods:
                self._tell(call, holds=live.refusal is None)
                return "OK"
        limit, several = live.config.max_body_bytes, name == "ModelStreamInfer"
        status = await live.attend(lambda pod: carry(pod, call, limit, several=several))
        return _NAMES.get(status, "UNKNOWN")

    async def _check_names(self, call: Call, kind: str) -> None:
        """Raises `NotFound` for a model that no pod of this one serves, `BadRequest` for what is no message, and the like."""
        begun, asked, limit = b"", None, self._live.config.max_body_bytes
        try:
            async with asyncio.timeout(PATIENCE):
                while asked is None:
                    begun = await call.look(len(begun))
                    asked = read_names(begun, kind, call.head.packing, limit, ended=call.heard)
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed before the call's message arrived") from None
        if asked.name is not None:
            self._live.check_name(asked.name, asked.version)

    def _tell(self, call: Call, *, holds: bool) -> None:
        """Ready means here: a call that comes now is taken in, and the model started for it."""
        message = _TRUE if holds else b""
        prefix = b"\x00" + len(message).to_bytes(4, "big")
        call.connection.outbox.answer(call, ANSWER, [prefix, message], len(prefix) + len(message), OK)

    def _fail(self, call: Call, error: ApiError) -> str:
        """Answer with an error; a caller who is to come back reads when in the metadata that gRPC's own retries heed. Its code."""
        others: Fields = ()
        if isinstance(error, NotServed):
            others = ((b"grpc-retry-pushback-ms", b"%d" % (error.retry_after * 1000)),)
        call.fail(error, others)
        return error.grpc_code

    def _account(self, call: Call, code: str) -> None:
        self._metrics.answered("grpc", code)
        known = call.head.path.startswith(SERVICE) and call.head.path.removeprefix(SERVICE) in _METHODS
        seconds = time.perf_counter() - call.started
        path = call.head.path if known else accesslog.OTHER
        accesslog.record("grpc", "POST", path, code, seconds, call.received_bytes, call.sent_bytes)
