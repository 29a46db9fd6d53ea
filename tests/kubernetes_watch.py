"""A small stand-in for the Kubernetes API where the activator's tests need no API server: lists, watches and reviews, over TLS.

The watch itself is proven against a real API server (tests/integration/test_activator_watch.py); here it is a means to move pods and routes
about. It keeps every event, ends watches and loses the thread when told to, and answers the two reviews from a table of tokens.
"""

import json
import queue
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from tests.serving_certificates import Authority

NAMESPACE = "modelward-system"
CONFIG_MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
SLICES = "/apis/discovery.k8s.io/v1/endpointslices"


class WatchedApi:
    """What the API holds. Thread-safe; every change is an event with a new resourceVersion."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority("api")
        self.folder = folder
        self.users: dict[str, str] = {}  # by token
        self.permitted: set[tuple[str, str]] = set()  # user, model
        self.is_away = False
        self.asked: list[str] = []
        self._lock = threading.Lock()
        self._version = 100
        self._objects: dict[str, dict[str, Any]] = {CONFIG_MAPS: {}, SLICES: {}}
        self._streams: dict[str, list[queue.Queue[Any]]] = {CONFIG_MAPS: [], SLICES: []}
        self.server = _serve(self)
        self.url = f"https://localhost:{self.server.server_address[1]}"
        (folder / "token").write_text("the activator's own")
        (folder / "ca.crt").write_bytes(self.authority.pem)

    def put(self, path: str, name: str, body: dict[str, Any]) -> int:
        """Create or change an object; its new version."""
        with self._lock:
            self._version += 1
            known = name in self._objects[path]
            metadata = {**body["metadata"], "name": name, "resourceVersion": str(self._version)}
            self._objects[path][name] = {**body, "metadata": metadata}
            self._tell(path, "MODIFIED" if known else "ADDED", self._objects[path][name])
            return self._version

    def drop(self, path: str, name: str) -> None:
        with self._lock:
            self._version += 1
            self._tell(path, "DELETED", self._objects[path].pop(name))

    def end_watches(self, *, expired: bool = False) -> None:
        """End what is open; `expired`: with the event that says that the version is too old."""
        gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410}} if expired else None
        with self._lock:
            for streams in self._streams.values():
                for stream in streams:
                    if gone:
                        stream.put(gone)
                    stream.put(None)

    def until_sent(self) -> None:
        """Wait until every watch that is open has been sent every event."""
        deadline = time.monotonic() + 60
        while any(stream.unfinished_tasks for streams in self._streams.values() for stream in list(streams)):
            assert time.monotonic() < deadline, "a watch takes no events"
            time.sleep(0.002)

    def _tell(self, path: str, kind: str, body: dict[str, Any]) -> None:
        for stream in self._streams[path]:
            stream.put({"type": kind, "object": body})

    def listing(self, path: str) -> dict[str, Any]:
        with self._lock:
            return {"metadata": {"resourceVersion": str(self._version)}, "items": list(self._objects[path].values())}

    def follow(self, path: str, since: int) -> Iterator[dict[str, Any]]:
        stream: queue.Queue[Any] = queue.Queue()
        with self._lock:
            for body in self._objects[path].values():
                if int(body["metadata"]["resourceVersion"]) > since:
                    stream.put({"type": "MODIFIED", "object": body})
            self._streams[path].append(stream)
        try:
            while (event := stream.get()) is not None:
                yield event
                stream.task_done()
        finally:
            with self._lock:
                self._streams[path].remove(stream)

    def review(self, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(kind)
        if kind == "TokenReview":
            user = self.users.get(spec["token"])
            return {"authenticated": True, "user": {"username": user}, "audiences": spec["audiences"]} if user else {}
        return {"allowed": (spec["user"], spec["resourceAttributes"]["name"]) in self.permitted}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: ClassVar[WatchedApi]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if self.api.is_away:
            self.close_connection = True
            return
        if "watch" not in query:
            self._answer(self.api.listing(parts.path))
            return
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        with suppress(OSError):
            for event in self.api.follow(parts.path, int(query["resourceVersion"][0])):
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.api.is_away:
            self.close_connection = True
            return
        self._answer({"status": self.api.review(body["kind"], body["spec"])})

    def _answer(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news."""


def _serve(api: WatchedApi) -> ThreadingHTTPServer:
    pair = api.authority.issue()
    (api.folder / "api.pem").write_bytes(pair.key + pair.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(api.folder / "api.pem")
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": api}))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@contextmanager
def watched_api(folder: Path) -> Iterator[WatchedApi]:
    """The API while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    api = WatchedApi(folder)
    try:
        yield api
    finally:
        api.end_watches()
        api.server.shutdown()
        api.server.server_close()
