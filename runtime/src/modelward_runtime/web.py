"""The Open Inference Protocol v2 over HTTP: a bare ASGI application, because a framework would cost more than the model.

Composed by `ports.py`, run by uvicorn (`listen.py`). It owns paths, methods, headers and status codes;
what an inference is, `exchange.py` and `codec.py` know. All paths but health's are behind the door (`access/`), the unknown ones too.

    GET  /v2/health/live  /v2/health/ready  /v2
    GET  /v2/models/NAME[/versions/V]       /v2/models/NAME[/versions/V]/ready
    POST /v2/models/NAME[/versions/V]/infer
    POST /v2/repository/index               (load and unload answer 403: one pod serves one model, by its manifest)
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec

from modelward_runtime import accesslog
from modelward_runtime.access.door import Door
from modelward_runtime.audit.entry import CLIENT_GONE, Entry, audited
from modelward_runtime.body import ClientGone, Headers, Receive, read_body
from modelward_runtime.codec import RestCall, encode_error, parse_index
from modelward_runtime.errors import (
    ApiError,
    Busy,
    EpsilonRefused,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    Unauthenticated,
)
from modelward_runtime.exchange import EXTENSIONS, PLATFORM, SERVER_NAME, SERVER_VERSION, Exchange
from modelward_runtime.model import TensorSpec
from modelward_runtime.states import ANONYMOUS, Caller
from modelward_runtime.watch import Watch

Scope = MutableMapping[str, Any]
ResultT = TypeVar("ResultT")
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_OCTETS = (b"content-type", b"application/octet-stream")
_CLOSE = (b"connection", b"close")
_CHALLENGE = (b"www-authenticate", b"Bearer")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Response:
    """Status, body, and headers but for the length."""

    status: int
    body: bytes
    headers: list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Route:
    """What a path means: the action, and the model and version it names."""

    action: str
    name: str = ""
    version: str = ""


_METHODS = {
    "live": "GET", "ready": "GET", "server": "GET", "model": "GET", "model_ready": "GET",
    "infer": "POST", "index": "POST", "load": "POST", "unload": "POST",
}  # fmt: skip
_FIXED = {
    "/v2/health/live": Route("live"),
    "/v2/health/ready": Route("ready"),
    "/v2": Route("server"),
    "/v2/": Route("server"),
    "/v2/repository/index": Route("index"),
}
_OPEN = frozenset({"/v2/health/live", "/v2/health/ready"})  # kubelets and load balancers have no token
_MODEL_ACTIONS = {"": "model", "/ready": "model_ready", "/infer": "infer"}
_MODEL_PATHS = {action: path for path, action in _MODEL_ACTIONS.items()}


class App:
    """The ASGI application."""

    def __init__(self, exchange: Exchange, door: Door, *, max_body_bytes: int) -> None:
        self._exchange = exchange
        self._door = door
        self._max_body_bytes = max_body_bytes
        infer = f"/v2/models/{exchange.name}/infer"
        self._routes = {**_FIXED, infer: Route("infer", exchange.name)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise NotImplementedError(f"only HTTP is served, not {scope['type']}")
        started = time.perf_counter()
        headers = Headers(scope["headers"])
        try:
            response = await self._answer(scope, headers, receive)
        except ClientGone:
            self._account(scope, headers, CLIENT_GONE, 0, started)
            return
        await self._send(response, send)
        self._account(scope, headers, response.status, len(response.body), started)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive) -> Response:
        try:
            caller = await self._admit(scope, headers)
            work = partial(self._respond, scope, headers, receive, caller)
            if self._is_inference(scope["path"]):
                return await audited(self._exchange.auditor, "rest", work, _size)
            return await work(None)
        except ApiError as error:
            return error_response(error)
        except ClientGone:
            raise
        except Exception:  # noqa: BLE001 - the last border: a flaw of ours is answered and logged, not dropped
            _log.exception("request failed unexpectedly")
            return error_response(ApiError("internal error"))

    async def _admit(self, scope: Scope, headers: Headers) -> Caller:
        """Who asks. Raises `ApiError`; the audit log hears of it where it was to be an inference, and sets no room aside for it."""
        path, auditor = scope["path"], self._exchange.auditor
        if path in _OPEN:
            return ANONYMOUS
        try:
            return await self._door.admit(headers.authorization or b"", _address(scope))
        except ApiError as error:
            if auditor is not None and self._is_inference(path):
                auditor.turn_away("rest", error)
            raise

    def _is_inference(self, path: str) -> bool:
        """An inference of this model, whatever version: the audit log is about nothing else."""
        route = self._routes.get(path)
        if route is None and path.endswith("/infer"):
            with suppress(NotFound):
                route = parse_path(path)
        return route is not None and route.action == "infer" and route.name == self._exchange.name

    async def _respond(
        self, scope: Scope, headers: Headers, receive: Receive, caller: Caller, entry: Entry | None
    ) -> Response:
        """What is asked for. Raises `ApiError`."""
        if entry is not None:
            entry.request_bytes = headers.length or 0
            entry.identify(caller)
        path = scope["path"]
        route = self._routes.get(path) or parse_path(path)
        _check_method(route, scope["method"])
        if route.action == "infer":
            return await self._infer(route, headers, receive, caller, entry)
        if route.action == "index":
            return await self._index(headers, receive)
        return self._inform(route)

    async def _infer(
        self, route: Route, headers: Headers, receive: Receive, caller: Caller, entry: Entry | None
    ) -> Response:
        self._exchange.check_name(route.name, route.version)
        with self._door.enter(caller):
            answer = await self._attend(
                headers,
                receive,
                lambda body, deadline: self._exchange.infer(
                    RestCall(route.name, route.version, body, headers.header_length), caller, deadline, entry
                ),
            )
        if answer.header_length is None:
            return Response(200, answer.body, [_JSON])
        length = (b"inference-header-content-length", b"%d" % answer.header_length)
        return Response(200, answer.body, [_OCTETS, length])

    async def _index(self, headers: Headers, receive: Receive) -> Response:
        async def list_models(body: bytes, _deadline: float) -> Response:
            return _json(self._exchange.index(only_ready=parse_index(body)))

        if not headers.length and not headers.chunked:
            return await list_models(b"", 0)
        return await self._attend(headers, receive, list_models)

    async def _attend(
        self, headers: Headers, receive: Receive, use: Callable[[bytes, float], Awaitable[ResultT]]
    ) -> ResultT:
        """Read the body and use it, unless the caller leaves or the deadline passes meanwhile."""
        deadline = asyncio.get_running_loop().time() + self._exchange.limits.request_timeout
        with self._exchange.bodies.hold() as hold, Watch(receive, deadline) as watch:
            try:
                body = await read_body(headers, receive, self._max_body_bytes, hold)
                watch.body_arrived()
                return await use(body, deadline)
            except asyncio.CancelledError:
                if (reason := watch.explain()) is None:
                    raise
                raise reason from None

    def _inform(self, route: Route) -> Response:
        """Everything but inference: cheap, and from memory."""
        match route.action:
            case "live":
                return Response(200, b"", [])
            case "ready":
                return Response(200 if self._exchange.ready else 503, b"", [])
            case "model_ready":
                self._exchange.check_name(route.name, route.version)
                return Response(200 if self._exchange.ready else 503, b"", [])
            case "model":
                return _json(self._model_metadata(route))
            case "load" | "unload":
                raise Forbidden(f"{route.action}: the model of this server is fixed by its manifest")
            case _:
                return _json({"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": EXTENSIONS})

    def _model_metadata(self, route: Route) -> object:
        model = self._exchange.describe(route.name, route.version)
        return {
            "name": model.name,
            "versions": [model.version],
            "platform": PLATFORM,
            "inputs": [_tensor_metadata(spec) for spec in model.inputs],
            "outputs": [_tensor_metadata(spec) for spec in model.outputs],
            "parameters": {"execution_provider": model.execution_provider},
        }

    async def _send(self, response: Response, send: Send) -> None:
        headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
        if self._exchange.retired:
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})

    def _account(self, scope: Scope, headers: Headers, status: int, sent: int, started: float) -> None:
        self._exchange.metrics.answered("rest", str(status))
        seconds = time.perf_counter() - started
        accesslog.record(
            "rest", scope["method"], self._template(scope["path"]), str(status), seconds, headers.length or 0, sent
        )

    def _template(self, path: str) -> str:
        """The path as the access log may have it: a name or version that is not ours is a caller's word, and may be anything."""
        if path in self._routes:
            return path
        try:
            route = parse_path(path)
        except NotFound:
            return accesslog.OTHER
        name = route.name if route.name == self._exchange.name else accesslog.OTHER
        if route.action not in _MODEL_PATHS:
            return f"/v2/repository/models/{name}/{route.action}"
        version = route.version if route.version in {"", self._exchange.version} else accesslog.OTHER
        return f"/v2/models/{name}{'/versions/' * bool(version)}{version}{_MODEL_PATHS[route.action]}"


def parse_path(path: str) -> Route:
    """What a path of no fixed route means. Raises `NotFound`."""
    parts = path.split("/")
    if parts[:3] == ["", "v2", "models"] and len(parts) > 3 and parts[3]:
        name, rest, version = parts[3], parts[4:], ""
        if len(rest) > 1 and rest[0] == "versions" and rest[1]:
            version, rest = rest[1], rest[2:]
        action = _MODEL_ACTIONS.get("".join("/" + part for part in rest))
        if action:
            return Route(action, name, version)
    if parts[:4] == ["", "v2", "repository", "models"] and len(parts) == 6 and parts[5] in {"load", "unload"}:
        return Route(parts[5], parts[4])
    raise NotFound("no such path")


def _address(scope: Scope) -> str:
    """Where the connection comes from, spelled as gRPC does; empty where the server does not know."""
    host: str = (scope.get("client") or ("",))[0]
    return host.removeprefix("::ffff:")


def _check_method(route: Route, method: str) -> None:
    allowed = _METHODS[route.action]
    if method != allowed and not (method == "HEAD" and allowed == "GET"):
        raise MethodNotAllowed(method[:16], allowed)


def error_response(error: ApiError) -> Response:
    """An error as every path answers it."""
    headers = [_JSON]
    if isinstance(error, Busy | EpsilonRefused) and error.retry_after:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    if isinstance(error, Unauthenticated):
        headers.append(_CHALLENGE)
    return Response(error.status, encode_error(error), headers)


def _tensor_metadata(spec: TensorSpec) -> object:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _size(response: Response) -> int:
    return len(response.body)


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value), [_JSON])
