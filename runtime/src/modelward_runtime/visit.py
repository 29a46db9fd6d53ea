"""One request to the REST port, with what is found out before it is known who asks: what it means, and which model is to infer.

Made by `web.py` for each request.
"""

import time

from modelward_runtime.body import Headers
from modelward_runtime.exchange import Exchange
from modelward_runtime.observability.trail import Trail
from modelward_runtime.paths import Route
from modelward_runtime.request import Request


class Visit:
    """`route` is None for a path that is none of the protocol's, `exchange` where no inference of a model that is here is asked for."""

    __slots__ = ("exchange", "headers", "request", "route", "started", "trail")

    def __init__(self, request: Request, route: Route | None, exchange: Exchange | None) -> None:
        self.started = time.perf_counter()
        self.request = request
        self.headers = Headers(request.headers)
        self.route = route
        self.exchange = exchange
        self.trail: Trail | None = None

    def trace_context(self) -> tuple[str, str]:
        """`traceparent` and `tracestate` of the W3C Trace Context, empty where they are not sent."""
        sent = {name: value for name, value in self.request.headers if name in {b"traceparent", b"tracestate"}}
        return sent.get(b"traceparent", b"").decode("latin-1"), sent.get(b"tracestate", b"").decode("latin-1")
