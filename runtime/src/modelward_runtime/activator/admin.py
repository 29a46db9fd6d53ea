"""The activator's admin port: probes, metrics, and what is held.

Plain HTTP; a NetworkPolicy closes it to all but the kubelet and the operator's namespace. It changes nothing.

    GET /livez     200 while the event loop answers
    GET /readyz    200 once routes and EndpointSlices are known, until SIGTERM
    GET /metrics   Prometheus text
    GET /demand?since=CURSOR&wait=S   hangs until some queue is no longer empty, at most S (60) seconds; see demand.py
"""

import math
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

import msgspec

from modelward_runtime.activator.demand import Demand
from modelward_runtime.activator.metrics import Metrics
from modelward_runtime.request import Header, Request

Answer = tuple[int, bytes, bytes]  # status, content type, body

LONGEST_WAIT: Final = 60.0
_TEXT: Final = b"text/plain; charset=utf-8"
_JSON: Final = b"application/json"
_PROMETHEUS: Final = b"text/plain; version=0.0.4; charset=utf-8"


class App:
    """The application; `obstacle` says why it is not ready, in a word or two, and is empty when it is."""

    def __init__(self, metrics: Metrics, demand: Demand, obstacle: Callable[[], str]) -> None:
        self._metrics = metrics
        self._demand = demand
        self._obstacle = obstacle

    async def __call__(self, request: Request) -> None:
        """Answer one request; the body, if any, is not read."""
        status, kind, body = await self._answer(request.method, request.path, request.query)
        headers: list[Header] = [(b"content-type", kind), (b"cache-control", b"no-store")]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        request.respond(status, headers, body)

    async def _answer(self, method: str, path: str, query: bytes) -> Answer:
        if path not in {"/livez", "/readyz", "/metrics", "/demand"}:
            return 404, _TEXT, b"no such path, there are /demand /livez /metrics /readyz\n"
        if method not in {"GET", "HEAD"}:
            return 405, _TEXT, b"only GET is allowed here\n"
        if path == "/livez":
            return 200, _TEXT, b"alive\n"
        if path == "/metrics":
            return 200, _PROMETHEUS, self._metrics.exposition()
        if path == "/readyz":
            obstacle = self._obstacle()
            return (503, _TEXT, f"{obstacle}\n".encode()) if obstacle else (200, _TEXT, b"ready\n")
        return await self._tell(query)

    async def _tell(self, query: bytes) -> Answer:
        try:
            since, wait = _parse(query)
        except ValueError as error:
            return 400, _TEXT, f"{error}\n".encode()
        return 200, _JSON, msgspec.json.encode(await self._demand.told(since, wait))


def _parse(query: bytes) -> tuple[int | None, float]:
    """`since`, None where it is left out, and `wait`. ValueError says what is wrong."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True, strict_parsing=False, max_num_fields=8)
    unknown = sorted(set(given) - {"since", "wait"})
    if unknown or any(len(values) != 1 for values in given.values()):
        raise ValueError("the parameters are since and wait, once each")
    since, wait = given.get("since", [""])[0], given.get("wait", ["0"])[0]
    if since and not (since.isascii() and since.isdigit() and len(since) <= 18):
        raise ValueError("since is the cursor of the last answer")
    try:
        seconds = float(wait)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT:
        raise ValueError(f"wait is a number of seconds from 0 to {LONGEST_WAIT:g}")
    return (int(since) if since else None), seconds
