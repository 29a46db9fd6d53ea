"""Calls over HTTP: health is answered here, everything else is brought to a pod as it came, and back.

One application for all models' ports, run by `ports.py`; the connection knows the model's route.
What reaches a pod is known by its path (`modelward_runtime.paths`): a path that no pod serves wakes nobody. Nothing of a body is read
before a pod is there, but for what the kernel and one buffer of the connection take.
"""

import asyncio
import logging
import time
from typing import Final

import msgspec

from modelward_runtime import accesslog
from modelward_runtime.activator.errors import CallsFull, NotServed, PodLost
from modelward_runtime.activator.metrics import Metrics
from modelward_runtime.activator.route import LiveRoute
from modelward_runtime.activator.share import PER_CALL
from modelward_runtime.activator.tunnel import Tunnel
from modelward_runtime.activator.upstream import Broken
from modelward_runtime.caller import ClientGone
from modelward_runtime.errors import ApiError, Busy, Forbidden, MethodNotAllowed, Unauthenticated
from modelward_runtime.paths import FIXED, OPEN, Route, check_method, parse_path, state_body
from modelward_runtime.request import Header, Request

_JSON: Final = (b"content-type", b"application/json")
_CHALLENGE: Final = (b"www-authenticate", b"Bearer")
_CLIENT_GONE: Final = "499"  # as nginx says it, and the pods
_CUT_OFF: Final = "cut-off"  # the pod ended in the middle of its answer, and so did ours
_log = logging.getLogger(__name__)


class App:
    """The application of all REST ports."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, request: Request) -> None:
        """Answer one request."""
        started, live = time.perf_counter(), request.connection.route
        tunnel = Tunnel(request, live.config.max_body_bytes)
        try:
            code = await _answer(request, live, tunnel)
        except (ClientGone, asyncio.CancelledError):
            if not request.gone:
                raise
            code = _CLIENT_GONE
        self._metrics.answered("rest", code)
        path = request.path if request.path in FIXED else accesslog.OTHER
        seconds = time.perf_counter() - started
        accesslog.record("rest", request.method, path, code, seconds, tunnel.sent_up, tunnel.sent_down)


async def _answer(request: Request, live: LiveRoute, tunnel: Tunnel) -> str:
    """The status that the caller got, or a word for why there was none. Raises `ClientGone`."""
    try:
        asked = await _admit(request, live)
        tunnel.check_length()
        if _is_answered_here(asked, live):
            return _inform(request, live, asked)
        return str(await _attend(live, tunnel))
    except ApiError as error:
        failure = error
    except Broken:
        failure = PodLost()
    except ClientGone:
        raise
    except Exception:  # noqa: BLE001  the last border: a flaw of ours is answered and logged, not dropped
        _log.exception("request failed unexpectedly")
        failure = ApiError("internal error")
    if request.started:
        request.abort()
        return _CUT_OFF
    return _refuse(failure, request, live, tunnel)


async def _attend(live: LiveRoute, tunnel: Tunnel) -> int:
    """The pod's status, with room for what is under way. Raises as `LiveRoute.attend` does, and `CallsFull`."""
    if not live.memory.take(PER_CALL):
        raise CallsFull
    try:
        return await live.attend(tunnel.through)
    finally:
        live.memory.give_back(PER_CALL)


async def _admit(request: Request, live: LiveRoute) -> Route:
    """What is asked for, by somebody who may. Raises `ApiError`, for all that no pod would serve, too."""
    path = request.path
    if path not in OPEN:
        await live.door.admit(_authorization(request.headers), request.connection.address)
    asked = FIXED.get(path) or parse_path(path)
    check_method(asked, request.method)
    if asked.action in {"load", "unload"}:
        raise Forbidden(f"{asked.action}: the model of this server is fixed by its manifest")
    if asked.name:
        live.check_name(asked.name, asked.version)
    return asked


def _is_answered_here(asked: Route, live: LiveRoute) -> bool:
    """Health, always; and whether the model is ready, while no pod could say it."""
    return asked.action in {"live", "ready"} or (asked.action == "model_ready" and not live.has_pods)


def _inform(request: Request, live: LiveRoute, asked: Route) -> str:
    """Ready means here: a request that comes now is taken in, and the model started for it."""
    holds = asked.action == "live" or live.refusal is None
    status = 200 if holds else 503
    request.respond(status, [_JSON], state_body(asked.action, holds=holds, name=asked.name))
    return str(status)


def _refuse(error: ApiError, request: Request, live: LiveRoute, tunnel: Tunnel) -> str:
    headers: list[Header] = [_JSON]
    if isinstance(error, Busy | NotServed):
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode()))
    if isinstance(error, Unauthenticated):
        headers.append(_CHALLENGE)
    if (
        live.should_leave and not tunnel.unread
    ):  # what is not read when a connection is closed, takes the answer with it
        request.keep_alive = False
    request.respond(error.status, headers, msgspec.json.encode({"error": error.message}))
    return str(error.status)


def _authorization(headers: list[Header]) -> bytes:
    """Several are joined, as HTTP joins headers, and then are no token."""
    return b", ".join(value for name, value in headers if name == b"authorization")
