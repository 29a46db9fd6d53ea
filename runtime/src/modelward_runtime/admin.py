"""The admin port: probes, metrics and the report, as a small ASGI application of its own.

`serve.py` starts it before anything else, so that probes answer while the model is fetched. It is plain HTTP on the pod only;
a NetworkPolicy closes it to all but the kubelet and the operator. It must not serve predictions nor change anything.

    GET /livez     200 while the event loop answers
    GET /startupz  200 once the model is loaded and warm
    GET /readyz    200 while serving, not draining, and able to record what must be recorded
    GET /metrics   Prometheus text
    GET /report    JSON, see report.py
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from modelward_runtime.report import Report, State

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = tuple[int, bytes, bytes]  # status, content type, body

_TEXT = b"text/plain; charset=utf-8"
_JSON = b"application/json"
_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"


class App:
    """The ASGI application; `exposition` gives the metrics in Prometheus text format."""

    def __init__(self, report: Report, exposition: Callable[[], bytes]) -> None:
        self._report = report
        self._exposition = exposition
        self._answers: dict[str, Callable[[], Answer]] = {
            "/livez": lambda: (200, _TEXT, b"alive\n"),
            "/startupz": self._started,
            "/readyz": self._ready,
            "/metrics": lambda: (200, _PROMETHEUS, self._exposition()),
            "/report": lambda: (200, _JSON, self._report.to_json()),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the body, if any, is not read."""
        if scope["type"] != "http":
            return
        status, content_type, body = self.answer(scope["method"], scope["path"])
        headers = [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def answer(self, method: str, path: str) -> Answer:
        """Status, content type and body for a path."""
        answer = self._answers.get(path)
        if answer is None:
            return 404, _TEXT, f"no such path, there are {' '.join(sorted(self._answers))}\n".encode()
        if method not in {"GET", "HEAD"}:
            return 405, _TEXT, b"only GET is allowed here\n"
        return answer()

    def _started(self) -> Answer:
        return (200, _TEXT, b"started\n") if self._report.loaded else self._not_yet()

    def _ready(self) -> Answer:
        if self._report.state is not State.READY:
            return self._not_yet()
        obstacle = self._report.obstacle()
        return (503, _TEXT, f"{obstacle}\n".encode()) if obstacle else (200, _TEXT, b"ready\n")

    def _not_yet(self) -> Answer:
        failure = self._report.failure
        why = f": {failure['reason']}: {failure['message']}" if failure else ""
        return 503, _TEXT, f"{self._report.state}{why}\n".encode()
