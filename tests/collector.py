"""A collector of traces: speaks OTLP over HTTP, as OpenTelemetry's own does, and keeps what it is sent."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """What came so far."""

    endpoint: str
    paths: list[str] = field(default_factory=list)
    spans: list[Any] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    raw: bytes = b""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, path: str, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self.changed:
            self.paths.append(path)
            self.raw += body
            for one in request.resource_spans:
                self.resources.append(attributes(one.resource))
                for scope in one.scope_spans:
                    self.spans += scope.spans
            self.changed.notify_all()

    def named(self, name: str) -> list[Any]:
        """Spans of this name, in the order in which they began."""
        with self.changed:
            return sorted((span for span in self.spans if span.name == name), key=lambda s: int(s.start_time_unix_nano))

    def wait_for(self, name: str, count: int = 1, seconds: float = 30) -> list[Any]:
        """So many spans of this name; AssertionError when they do not come."""
        with self.changed:
            came = self.changed.wait_for(lambda: sum(span.name == name for span in self.spans) >= count, seconds)
        assert came, f"no {count} spans {name!r}: {sorted(span.name for span in self.spans)}"
        return self.named(name)

    def children(self, parent: Any) -> dict[str, Any]:
        """The spans below a span, by name; each name once."""
        below = [span for span in self.spans if span.parent_span_id == parent.span_id]
        assert len({span.name for span in below}) == len(below)
        return {span.name: span for span in below}


def attributes(owner: Any) -> dict[str, Any]:
    """The attributes of a span or a resource."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in owner.attributes}


@contextmanager
def collect() -> Iterator[Collector]:
    """A collector on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(self.path, body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
