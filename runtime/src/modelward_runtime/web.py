"""The Open Inference Protocol v2 over HTTP, without a framework, because it would cost more than the model.

Composed by `ports.py`, run by `listen.py`. It owns paths, methods, headers and status codes;
inferences are `rest_inference.py`'s. All paths but health's are behind the door (`access/`), the unknown ones too.

    GET  /v2/health/live  /v2/health/ready  /v2
    GET  /v2/models/NAME[/versions/V]       /v2/models/NAME[/versions/V]/ready      /v2/models/NAME[/versions/V]/openapi.json
    POST /v2/models/NAME[/versions/V]/infer
    POST /v2/repository/index
    POST /v2/repository/models/NAME/load    /v2/repository/models/NAME/unload     (403 where one model is served, by its manifest)
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from modelward_runtime import accesslog
from modelward_runtime.access.door import Door
from modelward_runtime.answers import (
    Response,
    error_response,
    json_response,
    may_be_packed,
    pack_as_asked,
    state_response,
)
from modelward_runtime.audit.entry import CLIENT_GONE
from modelward_runtime.caller import ANONYMOUS, Caller, ClientGone
from modelward_runtime.codec import parse_index
from modelward_runtime.control import change, keeper_of, parse_change
from modelward_runtime.errors import ApiError, NotFound, explain
from modelward_runtime.exchange import EXTENSIONS, PLATFORM, SERVER_NAME, SERVER_VERSION, Exchange
from modelward_runtime.model import TensorSpec
from modelward_runtime.parts import MOST_ASKED
from modelward_runtime.paths import FIXED, MODEL_PATHS, OPEN, Route, check_method, parse_path
from modelward_runtime.request import Body, Request
from modelward_runtime.rest_inference import Inferences, Outcome
from modelward_runtime.shelf import Keeper, Models
from modelward_runtime.stepping import Unfinished, take_first_step
from modelward_runtime.visit import Visit

ResultT = TypeVar("ResultT")

_MOST_ROUTES = 1000  # of models that are here: what callers invent is not remembered


class App:
    """The application of the REST port."""

    def __init__(self, models: Models, door: Door, *, max_body_bytes: int) -> None:
        self._models = models
        self._door = door
        self._inferences = Inferences(models, door, max_body_bytes)
        self._routes = dict(FIXED)

    def __call__(self, request: Request) -> Coroutine[Any, Any, None] | None:
        """Answer one request; at once where that needs no wait."""
        visit = Visit(request, *self._locate(request.path))
        if self._models.follower is not None and visit.exchange is not None:
            visit.trail = self._models.follower.begin("rest", *visit.trace_context())
        try:
            caller = self._recall(visit)
        except ApiError as error:
            self._tell_audit(visit.exchange, error)
            self._finish(visit, error_response(error))
            return None
        if caller is None:
            return self._finish_later(visit, self._answer(visit, None))
        if visit.exchange is None:
            return self._conclude(visit, take_first_step(self._answer(visit, caller)))
        return self._inferences.begin(visit, visit.exchange, caller, self._conclude)  # most requests, by far

    def _recall(self, visit: Visit) -> Caller | None:
        """Who asks, where what they ask may need no task, or not yet: an inference for which nothing is paid, nor a record waited for."""
        if visit.request.path in OPEN:
            return ANONYMOUS
        exchange = visit.exchange
        if (
            exchange is None
            or (exchange.auditor is not None and exchange.auditor.synchronous)
            or exchange.promise is not None
        ):
            return None
        return self._door.recall(visit.headers.authorization or b"")

    def _conclude(self, visit: Visit, outcome: Outcome) -> Coroutine[Any, Any, None] | None:
        """Answer now, or return what will."""
        if isinstance(outcome, ClientGone):
            self._account(visit, CLIENT_GONE, 0)
            return None
        if isinstance(outcome, Unfinished) or may_be_packed(outcome, visit.headers.accepted):
            return self._finish_later(visit, outcome)
        self._finish(visit, outcome)
        return None

    async def _finish_later(self, visit: Visit, answer: Awaitable[Response] | Response) -> None:
        try:
            response = answer if isinstance(answer, Response) else await answer
            if may_be_packed(response, visit.headers.accepted):
                await pack_as_asked(response, visit.headers.accepted)
        except (ClientGone, asyncio.CancelledError):
            if not visit.request.gone:
                raise
            self._account(visit, CLIENT_GONE, 0)
        else:
            self._finish(visit, response)

    def _finish(self, visit: Visit, response: Response) -> None:
        if self._models.retired:
            visit.request.keep_alive = False
        visit.request.respond(response.status, response.headers, response.body)
        self._account(visit, response.status, len(response.body))

    async def _answer(self, visit: Visit, caller: Caller | None) -> Response:
        """What is asked for, by a caller who is known, or else is asked about."""
        exchange = visit.exchange
        try:
            if caller is None:
                caller = await self._admit(visit)
            if exchange is None:
                return await self._respond(visit.route or parse_path(visit.request.path), visit)
            return await self._inferences.answer(visit, exchange, caller)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001  the last border, see `explain`
            return error_response(explain(error))

    async def _admit(self, visit: Visit) -> Caller:
        """Who asks. Raises `ApiError`; the audit log sets no room aside for that."""
        request, exchange = visit.request, visit.exchange
        if request.path in OPEN:
            return ANONYMOUS
        try:
            return await self._door.admit(visit.headers.authorization or b"", request.connection.address)
        except ApiError as error:
            self._tell_audit(exchange, error)
            raise

    def _tell_audit(self, exchange: Exchange | None, refusal: ApiError) -> None:
        """The audit log hears of who is not let in to an inference."""
        if exchange is not None and exchange.auditor is not None:
            exchange.auditor.turn_away("rest", refusal)

    def _locate(self, path: str) -> tuple[Route | None, Exchange | None]:
        """What a path means, and the model that is to infer, whatever version. Nothing is refused yet: it is not known who asks."""
        route = self._routes.get(path)
        try:
            known = route is not None
            route = route or parse_path(path)
            if route.action != "infer":
                return route, None
            exchange = self._models.find(route.name)
        except NotFound:
            return route, None
        if not known and not route.version and len(self._routes) < _MOST_ROUTES:
            self._routes[path] = route
        return route, exchange

    async def _respond(self, route: Route, visit: Visit) -> Response:
        """What is asked for that is no inference of a model that is here. Raises `ApiError`."""
        check_method(route, visit.request.method)
        match route.action:
            case "infer":
                self._models.find(route.name)
                raise AssertionError("it was not there a moment ago")
            case "index":
                return await self._index(visit)
            case "load" | "unload":
                return await self._change(keeper_of(self._models, route.action), route, visit)
            case _:
                return self._inform(route)

    async def _index(self, visit: Visit) -> Response:
        async def list_models(body: Body, _deadline: float) -> Response:
            return json_response(self._models.index(only_ready=parse_index(body)))

        return await self._attend_to_any(visit, list_models)

    async def _change(self, keeper: Keeper, route: Route, visit: Visit) -> Response:
        async def load_or_unload(body: Body, deadline: float) -> Response:
            await change(keeper, route.action, route.name, parse_change(body), deadline)
            return Response(200, b"", [])

        return await self._attend_to_any(visit, load_or_unload)

    async def _attend_to_any(self, visit: Visit, use: Callable[[Body, float], Awaitable[ResultT]]) -> ResultT:
        """Read the body, if there is any, and use it."""
        deadline = self._inferences.deadline()
        if not visit.headers.length and not visit.headers.chunked:
            return await use(b"", deadline)
        with self._models.bodies.hold() as hold:
            return await use(await self._inferences.read(visit, deadline, hold, MOST_ASKED), deadline)

    def _inform(self, route: Route) -> Response:
        """Everything but inference: cheap, and from memory."""
        match route.action:
            case "live":
                return state_response("live", holds=True)
            case "ready":
                return state_response("ready", holds=self._models.ready)
            case "model_ready":
                exchange = self._models.find(route.name)
                exchange.check_name(route.name, route.version)
                return state_response("ready", holds=exchange.ready, name=route.name)
            case "model":
                return json_response(self._model_metadata(route))
            case "openapi":
                return json_response(self._describe(route))
            case _:
                return json_response({"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": EXTENSIONS})

    def _model_metadata(self, route: Route) -> object:
        model = self._models.find(route.name).describe(route.name, route.version)
        return {
            "name": model.name,
            "versions": [model.version],
            "platform": PLATFORM,
            "inputs": [_tensor_metadata(spec) for spec in model.inputs],
            "outputs": [_tensor_metadata(spec) for spec in model.outputs],
            "parameters": {"execution_provider": model.execution_provider},
        }

    def _describe(self, route: Route) -> object:
        from modelward_runtime.openapi import document  # noqa: PLC0415  start-up: hardly anybody asks

        return document(self._models.find(route.name).describe(route.name, route.version), guarded=self._door.guarded)

    def _account(self, visit: Visit, status: int, sent: int) -> None:
        (visit.exchange or self._models).metrics.answered("rest", str(status))
        received = visit.headers.length or 0
        if visit.trail is not None:
            visit.trail.end(str(status), received, sent)
        seconds, path = time.perf_counter() - visit.started, self._template(visit.request.path)
        accesslog.record("rest", visit.request.method, path, str(status), seconds, received, sent)

    def _template(self, path: str) -> str:
        """The path as the access log may have it: a name or version that is not ours is a caller's word, and may be anything."""
        if path in self._routes:
            return path
        try:
            route = parse_path(path)
        except NotFound:
            return accesslog.OTHER
        name, versions = self._ours(route.name)
        if route.action not in MODEL_PATHS:
            return f"/v2/repository/models/{name}/{route.action}"
        version = route.version if route.version in versions else accesslog.OTHER
        return f"/v2/models/{name}{'/versions/' * bool(version)}{version}{MODEL_PATHS[route.action]}"

    def _ours(self, name: str) -> tuple[str, set[str]]:
        """A model's name and versions as the log may have them."""
        try:
            return name, {"", self._models.find(name).version}
        except NotFound:
            return accesslog.OTHER, {""}


def _tensor_metadata(spec: TensorSpec) -> object:
    told: dict[str, object] = {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}
    if spec.optional:
        told["parameters"] = {"optional": True}
    if spec.classes:  # the protocol's parameters are no lists
        told["parameters"] = {"classes": msgspec.json.encode(spec.classes).decode()}
    return told
