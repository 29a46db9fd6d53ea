"""Inferences over gRPC, single ones and those of a stream: from a message to its answer, recorded where somebody wants that.

Used by `grpc_service.py`. What an inference is, `exchange.py` and `protobuf.py` know.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from modelward_runtime.access.door import Door
from modelward_runtime.access.limits import Turn
from modelward_runtime.audit.entry import Entry, audited
from modelward_runtime.budget import Hold
from modelward_runtime.caller import Caller
from modelward_runtime.errors import ApiError, PredictForbidden, Unauthenticated, explain
from modelward_runtime.exchange import Exchange
from modelward_runtime.grpc_accounts import Accounts
from modelward_runtime.grpc_call import Call
from modelward_runtime.grpc_door import Visitor
from modelward_runtime.grpc_message import Bytes, Message, check_packing
from modelward_runtime.observability.trail import Trail
from modelward_runtime.passage import Passage
from modelward_runtime.proto import messages
from modelward_runtime.protobuf import GrpcAnswer, GrpcCall, length
from modelward_runtime.shelf import Models
from modelward_runtime.stepping import Unfinished, take_first_step
from modelward_runtime.unpacking import unpack_by
from modelward_runtime.wire import id_of, is_long, read_at_once


class Inferences:
    """Those of one server. `now` is the event loop's time."""

    def __init__(self, models: Models, door: Door, accounts: Accounts, limit: int, now: Callable[[], float]) -> None:
        self._models = models
        self._door = door
        self._accounts = accounts
        self._limit = limit
        self._now = now

    def deadline_of(self, call: Call) -> float:
        """Of what begins now: the server's or the caller's, whichever is sooner."""
        deadline = self._now() + self._models.limits.request_timeout
        return deadline if call.deadline is None else min(deadline, call.deadline)

    def begin(self, call: Call, message: Message, visitor: Visitor) -> None:
        """A single one: answered here and now, if it can be, else in a task."""
        auditor = self._models.auditor
        if message.packed or auditor is not None or is_long(message.data):
            inference = self._infer_one(call, message, visitor.caller)
            if auditor is None or auditor.synchronous:
                call.work(inference)
            elif isinstance(first := take_first_step(inference), Unfinished):
                call.work(_finish(first))
            return
        trail, size = self._accounts.follow(call), len(message.data)
        hold = message.hold or self._models.bodies.hold()
        turn = answer = None
        try:
            turn = self._door.enter(visitor.caller)
            hold.reach(size)
            read = read_at_once(message.data)
            if read is None:
                call.work(self._read_on(call, message.data, visitor.caller, turn, hold, trail))
                return
            request = GrpcCall(message.data, read)
            exchange = call.exchange = self._models.find(request.name)
            begun = exchange.begin(request, visitor.caller, self.deadline_of(call), None, trail)
            if isinstance(begun, Passage):
                call.work(self._proceed(call, exchange, begun, size, turn, hold, trail))
                return
            answer = begun
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            self._accounts.fail(call, explain(error), size, trail)
        if turn is not None:
            turn.leave()
        hold.give_back()
        if answer is not None:
            self._accounts.answer(call, answer.parts, size, trail)

    async def each(self, call: Call, visitor: Visitor) -> None:
        """Those of a stream, one after the other; an error answers its request and ends nothing, but for a lost right."""
        while (message := await call.next_message()) is not None:
            started, size = time.perf_counter(), len(message.data)
            trail = self._accounts.follow(call)
            parts: list[Bytes]
            try:
                answer = await self._infer(call, message, visitor, trail)
                parts, code = [b"\x12" + length(answer.size), *answer.parts], "OK"
            except (Unauthenticated, PredictForbidden) as lost:
                self._accounts.settle(call, lost.grpc_code, size, 0, started, trail)
                call.hear_no_more()
                call.fail(lost)
                return
            except Exception as error:  # noqa: BLE001  the last border, see `explain`
                failure = explain(error)
                response = messages().ModelStreamInferResponse(error_message=failure.message)
                response.infer_response.id = "" if message.packed else id_of(message.data)
                parts, code = [response.SerializeToString()], failure.grpc_code
            sent = sum(map(len, parts))
            self._accounts.settle(call, code, size, sent, started, trail)
            await call.send_message(parts, sent)
        call.complete()

    async def refuse(self, call: Call, visitor: Visitor, failure: ApiError) -> None:
        """One whose message is not taken: recorded as one that was."""

        async def refused(entry: Entry | None) -> None:
            if entry is not None:
                entry.identify(visitor.caller)
            raise failure

        try:
            await audited(self._models.auditor, "grpc", refused, lambda _: 0)
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            self._accounts.fail(call, explain(error), 0)

    async def _proceed(
        self,
        call: Call,
        exchange: Exchange,
        begun: "Passage[GrpcAnswer]",
        size: int,
        turn: Turn,
        hold: Hold,
        trail: Trail | None,
    ) -> None:
        """The rest of one that could not be answered at once."""
        with turn, hold:
            await self._conclude(call, exchange.proceed(begun), size, trail)

    async def _read_on(
        self, call: Call, content: Bytes, caller: Caller, turn: Turn, hold: Hold, trail: Trail | None
    ) -> None:
        """The same of one that takes long to read."""

        async def infer() -> GrpcAnswer:
            request = await asyncio.to_thread(GrpcCall, content)
            exchange = call.exchange = self._models.find(request.name)
            return await exchange.infer(request, caller, self.deadline_of(call), None, trail)

        with turn, hold:
            await self._conclude(call, infer(), len(content), trail)

    async def _infer_one(self, call: Call, message: Message, caller: Caller) -> None:
        """One that is recorded, or has to be unpacked."""
        trail = self._accounts.follow(call)
        await self._conclude(call, self._infer(call, message, caller, trail), len(message.data), trail)

    async def _conclude(self, call: Call, doing: Awaitable[GrpcAnswer], size: int, trail: Trail | None) -> None:
        """An `ApiError` becomes the call's status. Count and log either way."""
        try:
            answer = await doing
        except asyncio.CancelledError:
            self._accounts.settle(call, "CANCELLED", size, 0, trail=trail)
            raise
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            self._accounts.fail(call, explain(error), size, trail)
        else:
            self._accounts.answer(call, answer.parts, size, trail)

    async def _infer(self, call: Call, message: Message, who: Caller | Visitor, trail: Trail | None) -> GrpcAnswer:
        """One inference, recorded. A visitor, of a stream, is asked again who that is."""
        auditor = self._models.auditor

        async def work(entry: Entry | None) -> GrpcAnswer:
            return await self._run(call, message, who, trail, entry)

        try:
            return await (audited(auditor, "grpc", work, lambda answer: answer.size) if auditor else work(None))
        finally:
            message.give_back()  # where it is not even begun, too

    async def _run(
        self, call: Call, message: Message, who: Caller | Visitor, trail: Trail | None, entry: Entry | None
    ) -> GrpcAnswer:
        size = len(message.data)
        hold = message.hold or self._models.bodies.hold()
        with hold:
            if entry is not None:
                entry.request_bytes = size
            caller = (
                await self._door.admit(who.authorization, call.connection.peer) if isinstance(who, Visitor) else who
            )
            if entry is not None:
                entry.identify(caller)
            deadline = self.deadline_of(call)
            with self._door.enter(caller):
                hold.reach(size)
                request = await _read(await self._content_of(call, message, hold, deadline))
                exchange = call.exchange = self._models.find(request.name)
                return await exchange.infer(request, caller, deadline, entry, trail)

    async def _content_of(self, call: Call, message: Message, hold: Hold, deadline: float) -> Bytes:
        """What was sent, unpacked."""
        if not message.packed:
            return message.data
        check_packing(call.head.packing)
        return await unpack_by(deadline, message.data, call.head.packing, self._limit, hold)


async def _read(content: Bytes) -> GrpcCall:
    """The message, read on a thread where that takes long."""
    read = None if is_long(content) else read_at_once(content)
    return await asyncio.to_thread(GrpcCall, content) if read is None else GrpcCall(content, read)


async def _finish(first: Unfinished[None]) -> None:
    await first
