"""The service: what becomes of a call, from its header fields to the method that answers it.

Made by `grpc_server.py`; told by `grpc_call.py` what arrives. Who calls, `grpc_door.py` finds out first.
"""

import asyncio
from typing import Final

from modelward_runtime.access.door import Door
from modelward_runtime.control import change, keeper_of
from modelward_runtime.errors import ApiError, BodyTooLarge, explain
from modelward_runtime.grpc_accounts import Accounts
from modelward_runtime.grpc_call import Call
from modelward_runtime.grpc_door import Entrance, Visitor
from modelward_runtime.grpc_inference import Inferences
from modelward_runtime.grpc_message import Assembler, Bytes, Message, unpacked
from modelward_runtime.grpc_methods import Method, NoMethod, methods_of
from modelward_runtime.parts import MOST_ASKED
from modelward_runtime.shelf import Models

WINDOW: Final = 1 << 17  # bytes of a call that may come before it is known who calls, and before more are asked for


class Service:
    """One server's methods. `time` is the event loop's."""

    def __init__(self, models: Models, door: Door, max_body_bytes: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.time = self.loop.time
        self.window = WINDOW
        self._models = models
        self._limit = max_body_bytes
        self._methods = methods_of(models)
        self._accounts = Accounts(models)
        self._entrance = Entrance(door, self._let_in, self._turn_away)
        self._inferences = Inferences(models, door, self._accounts, max_body_bytes, self.time)

    @property
    def patience(self) -> float:
        """Seconds that a request may take, body and all."""
        return self._models.limits.request_timeout

    def assembler(self, call: Call) -> Assembler:
        """For a call whose messages come in pieces."""
        return Assembler(self._limit_of(call), self._models.bodies)

    def enter(self, call: Call) -> None:
        """A call is there: who calls?"""
        call.method = self._methods.get(call.head.path)
        self._entrance.enter(call)

    def handle(self, call: Call, message: Message) -> None:
        """The one message of a call is there, and it is known who calls."""
        method = call.method
        if method is None or call.visitor is None:
            raise AssertionError("a message was read of a call that was not let in")
        if method.infers:
            self._inferences.begin(call, message, call.visitor)
        elif method.make is not None:
            self._inform(call, method, message)
        else:
            call.work(self._change(call, method, message))

    def refuse(self, call: Call, failure: ApiError) -> None:
        """A call ends before its message is whole."""
        if call.method is not None and call.method.infers and call.visitor is not None:
            call.work(self._inferences.refuse(call, call.visitor, failure))
        else:
            self._accounts.fail(call, failure, 0)

    def forget(self, call: Call) -> None:
        """The caller has gone before the message was whole."""
        self._accounts.settle(call, "CANCELLED", 0, 0)

    def _let_in(self, call: Call, visitor: Visitor) -> None:
        method = call.method
        if method is None:
            self._accounts.fail(call, NoMethod(), 0)
            return
        call.welcome(visitor, several=method.several)
        if method.several:
            call.work(self._inferences.each(call, visitor))

    def _turn_away(self, call: Call, failure: ApiError) -> None:
        """The audit log hears of it where it was to be an inference."""
        auditor = self._models.auditor
        if auditor is not None and call.method is not None and call.method.infers:
            auditor.turn_away("grpc", failure)
        self._accounts.fail(call, failure, 0)

    def _inform(self, call: Call, method: Method, message: Message) -> None:
        """From memory."""
        if method.make is None:
            raise AssertionError("an inference is no information")
        try:
            request = method.parse(self._content_of(call, message))
            answer = bytes(method.make(request).SerializeToString())
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            self._accounts.fail(call, explain(error), len(message.data))
        else:
            self._accounts.answer(call, [answer], len(message.data))
        finally:
            message.give_back()

    async def _change(self, call: Call, method: Method, message: Message) -> None:
        """Load or unload a model at a caller's wish."""
        size = len(message.data)
        try:
            keeper = keeper_of(self._models, method.action)
            request = method.parse(self._content_of(call, message))
            deadline = self._inferences.deadline_of(call)
            await change(keeper, method.action, request.model_name, list(request.parameters), deadline)
        except asyncio.CancelledError:
            self._accounts.settle(call, "CANCELLED", size, 0)
            raise
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            self._accounts.fail(call, explain(error), size)
        else:
            self._accounts.answer(call, [], size)
        finally:
            message.give_back()

    def _content_of(self, call: Call, message: Message) -> Bytes:
        """Of a message that is read here and now, and so is no larger than `MOST_ASKED`."""
        limit = self._limit_of(call)
        if len(message.data) > limit:
            raise BodyTooLarge(limit)
        if not message.packed:
            return message.data
        with self._models.bodies.hold() as hold:
            return unpacked(message, call.head.packing, limit, message.hold or hold)

    def _limit_of(self, call: Call) -> int:
        """Bytes of one message."""
        return self._limit if call.method is not None and call.method.infers else min(self._limit, MOST_ASKED)
