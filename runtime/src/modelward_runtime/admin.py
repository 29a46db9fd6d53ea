"""The admin port: probes, metrics and the report, as a small application of its own.

`serve.py` starts it before anything else, so that probes answer while the model is fetched. It is plain HTTP on the pod only;
a NetworkPolicy closes it to all but the kubelet and the operator. It must not serve predictions nor change anything.

    GET /livez     200 while the event loop answers
    GET /startupz  200 once the model is loaded and warm
    GET /readyz    200 while serving, not draining, and able to record what must be recorded
    GET /metrics   Prometheus text
    GET /report    JSON, see report.py
    GET /load?above=N&wait=S    JSON, see meter.py: at once, or as soon as N requests are in flight, at the latest after S seconds
"""

import asyncio
from collections.abc import Callable
from typing import Final

from modelward_runtime.meter import Meter, parse_ask
from modelward_runtime.report import Report, State
from modelward_runtime.request import Header, Request
from modelward_runtime.threads import in_thread

Answer = tuple[int, bytes, bytes]  # status, content type, body

_TEXT = b"text/plain; charset=utf-8"
_JSON = b"application/json"
_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
_ON_THE_WAY: Final = frozenset({State.FETCHING, State.VERIFYING, State.DECRYPTING, State.LOADING, State.WARMING_UP})
_EARLY: Final = (
    b"# HELP modelward_ready 1 while serving and not draining\n# TYPE modelward_ready gauge\nmodelward_ready 0.0\n"
)


class App:
    """The application; `exposition` gives the metrics in Prometheus text format, `meter` knows the load."""

    def __init__(self, report: Report, exposition: Callable[[], bytes], meter: Meter | None = None) -> None:
        self._report = report
        self._exposition = exposition
        self._meter = meter or Meter()
        self._importing: asyncio.Future[None] | None = None
        self._answers: dict[str, Callable[[], Answer]] = {
            "/livez": lambda: (200, _TEXT, b"alive\n"),
            "/startupz": self._started,
            "/readyz": self._ready,
            "/metrics": lambda: (200, _PROMETHEUS, self._exposition()),
            "/report": lambda: (200, _JSON, self._report.to_json()),
            "/load": lambda: (200, _JSON, self._meter.to_json()),
        }

    async def __call__(self, request: Request) -> None:
        """Answer one request; the body, if any, is not read."""
        refusal = await self._hang(request) if request.path == "/load" and request.method == "GET" else None
        if request.path == "/metrics" and request.method in {"GET", "HEAD"}:
            refusal = await self._expose()
        status, content_type, body = refusal or self.answer(request.method, request.path)
        headers: list[Header] = [(b"content-type", content_type), (b"cache-control", b"no-store")]
        if status == 405:
            headers.append((b"allow", b"GET, HEAD"))
        request.respond(status, headers, body)

    def answer(self, method: str, path: str) -> Answer:
        """Status, content type and body for a path."""
        answer = self._answers.get(path)
        if answer is None:
            return 404, _TEXT, f"no such path, there are {' '.join(sorted(self._answers))}\n".encode()
        if method not in {"GET", "HEAD"}:
            return 405, _TEXT, b"only GET is allowed here\n"
        return answer()

    async def _expose(self) -> Answer | None:
        """Have what the scrape needs imported: once, and beside whoever asks for a prediction. Beside a load that takes its time, and a
        scrape must not: what can be told until then is that nothing is served."""
        if self._importing is None:
            self._importing = asyncio.ensure_future(in_thread(_import_exposition, "exposition"))
        if not self._importing.done() and self._report.state in _ON_THE_WAY:
            return 200, _PROMETHEUS, _EARLY
        await asyncio.shield(self._importing)
        return None

    async def _hang(self, request: Request) -> Answer | None:
        """Wait as long as the query says; a refusal where it says nothing that can be meant."""
        try:
            ask = parse_ask(request.query.decode("latin-1"))
        except ValueError as error:
            return 400, _TEXT, f"{error}\n".encode()
        await self._meter.reach(ask)
        return None

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


def _import_exposition() -> None:
    from modelward_runtime import exposition  # noqa: F401, PLC0415  what the first scrape needs
