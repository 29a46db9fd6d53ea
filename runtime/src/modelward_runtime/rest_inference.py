"""Inferences over REST: from a request whose path names a model that is here to its answer, recorded where somebody wants that.

Used by `web.py`, which knows who calls, or finds it out. What an inference is, `exchange.py` and `codec.py` know.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec

from modelward_runtime.access.door import Door
from modelward_runtime.access.limits import Turn
from modelward_runtime.answers import Response, error_response, inference_response
from modelward_runtime.audit.entry import Entry, audited
from modelward_runtime.body import begin_body, check_head, check_size, read_body
from modelward_runtime.budget import Hold
from modelward_runtime.caller import Caller, ClientGone
from modelward_runtime.codec import Answer, RestCall
from modelward_runtime.errors import DeadlineExceeded, explain
from modelward_runtime.exchange import Exchange
from modelward_runtime.passage import Passage
from modelward_runtime.paths import Route, check_method
from modelward_runtime.request import Body
from modelward_runtime.shelf import Models
from modelward_runtime.stepping import Unfinished, take_first_step
from modelward_runtime.visit import Visit

Outcome = Response | Unfinished[Response] | ClientGone
Finish = Callable[[Visit, Outcome], Coroutine[Any, Any, None] | None]
"""What becomes of an outcome: the request is answered now, or what is returned will."""


class Inferences:
    """Those of one port. `limit` is the bytes that a body may have."""

    def __init__(self, models: Models, door: Door, limit: int) -> None:
        self._models = models
        self._door = door
        self._limit = limit
        self._loop = asyncio.get_running_loop()  # to ask for it each time is a call of the kernel's

    def deadline(self) -> float:
        """Of what begins now, in the event loop's time."""
        return self._loop.time() + self._models.limits.request_timeout

    def begin(
        self, visit: Visit, exchange: Exchange, caller: Caller, finish: Finish
    ) -> Coroutine[Any, Any, None] | None:
        """One whose record nobody waits for: finished now, if it can be, or when its body is here; else what goes on."""
        if exchange.auditor is not None or visit.headers.encoding:
            return finish(visit, take_first_step(self.answer(visit, exchange, caller)))
        hold = self._models.bodies.hold()
        turn = None
        try:
            route = _check(visit, exchange)
            turn = self._door.enter(caller)
            check_head(visit.headers, self._limit)
            begun = _Begun(exchange, route, caller, self.deadline(), turn, hold)
            if not visit.request.complete:
                self._await_body(visit, begun, finish)
                return None
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            if turn is not None:
                turn.leave()
            hold.give_back()
            return finish(visit, error_response(explain(error)))
        return finish(visit, self._infer_whole(visit, begun))

    def _await_body(self, visit: Visit, begun: "_Begun", finish: Finish) -> None:
        """Go on when the rest of the body is here, or will not come."""

        def go_on() -> Coroutine[Any, Any, None] | None:
            timer.cancel()
            return finish(visit, self._infer_whole(visit, begun))

        begin_body(visit.headers, visit.request, self._limit, begun.hold, go_on)
        timer = self._loop.call_at(begun.deadline, visit.request.refuse, _late())

    def _infer_whole(self, visit: Visit, begun: "_Begun") -> Outcome:
        """One whose body is here, or will never be."""
        outcome: Outcome
        try:
            body = visit.request.take_whole()
            check_size(len(body), self._limit, begun.hold)
            call = RestCall(begun.route.name, begun.route.version, body, visit.headers.header_length)
            answer = begun.exchange.begin(call, begun.caller, begun.deadline, None, visit.trail)
            if isinstance(answer, Passage):
                return take_first_step(self._proceed(visit, answer, begun))
            outcome = inference_response(answer)
        except ClientGone as gone:
            outcome = gone
        except Exception as error:  # noqa: BLE001  as above
            outcome = error_response(explain(error))
        begun.turn.leave()
        begun.hold.give_back()
        return outcome

    async def answer(self, visit: Visit, exchange: Exchange, caller: Caller) -> Response:
        """One that may have to be waited for, recorded. Raises `ClientGone`."""
        try:
            if exchange.auditor is None:
                return await self._infer(visit, exchange, caller, None)
            return await audited(exchange.auditor, "rest", partial(self._infer, visit, exchange, caller), _size)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001  as above
            return error_response(explain(error))

    async def read(self, visit: Visit, deadline: float, hold: Hold, most: int | None = None) -> Body:
        """The body, of at most so many bytes. Raises `ApiError` and `ClientGone`."""
        limit = self._limit if most is None else min(most, self._limit)
        if visit.request.complete:
            return await read_body(visit.headers, visit.request, limit, hold, deadline)
        timer = self._loop.call_at(deadline, visit.request.refuse, _late())
        try:
            return await read_body(visit.headers, visit.request, limit, hold, deadline)
        finally:
            timer.cancel()

    async def _proceed(self, visit: Visit, passage: Passage[Answer], begun: "_Begun") -> Response:
        """The rest of one that could not be answered at once."""
        try:
            with begun.turn, begun.hold:
                return inference_response(await begun.exchange.proceed(passage))
        except asyncio.CancelledError:
            if not visit.request.gone:
                raise
            raise ClientGone from None
        except Exception as error:  # noqa: BLE001  as above
            return error_response(explain(error))

    async def _infer(self, visit: Visit, exchange: Exchange, caller: Caller, entry: Entry | None) -> Response:
        headers = visit.headers
        if entry is not None:
            entry.request_bytes = headers.length or 0
            entry.identify(caller)
        route = _check(visit, exchange)
        with self._door.enter(caller), self._models.bodies.hold() as hold:
            deadline = self.deadline()
            try:
                body = await self.read(visit, deadline, hold)
                call = RestCall(route.name, route.version, body, headers.header_length)
                return inference_response(await exchange.infer(call, caller, deadline, entry, visit.trail))
            except asyncio.CancelledError:
                if not visit.request.gone:
                    raise
                raise ClientGone from None


class _Begun(msgspec.Struct, gc=False):
    """One inference with all that it has until it is answered: its caller's turn, room for its body, time until its deadline."""

    exchange: Exchange
    route: Route
    caller: Caller
    deadline: float
    turn: Turn
    hold: Hold


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("the deadline passed before the request's body arrived")


def _check(visit: Visit, exchange: Exchange) -> Route:
    """The route, which led to the model, once it is sure that it is asked for rightly. Raises `ApiError`."""
    route = visit.route
    assert route is not None  # noqa: S101  as said
    check_method(route, visit.request.method)
    exchange.check_name(route.name, route.version)
    return route


def _size(response: Response) -> int:
    return len(response.body)
