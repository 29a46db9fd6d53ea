"""The test enforcer's list-and-watch against a server that answers as the API server does: bookmarks, 410, broken lines."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest

from e2e.cluster.netpol_api import Access, Mirror
from tests.until import PATIENCE

PATH = "/api/v1/pods"


def _pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"namespace": "here", "name": name, "resourceVersion": str(version)}}


def _event(kind: str, name: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": _pod(name, version)}


@dataclass
class Server:
    """Answers the n-th list with `lists[n]` and the n-th watch with `watches[n]`; a watch beyond those hangs."""

    lists: list[list[dict[str, Any]]]
    watches: list[list[dict[str, Any]]]
    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str) -> Iterator[bytes]:
        watch = "watch=1" in path
        number = sum("watch=1" in earlier for earlier in self.asked) if watch else self._lists_asked()
        self.asked.append(path)
        if not watch:
            yield json.dumps({"metadata": {"resourceVersion": "10"}, "items": self.lists[number]}).encode()
        elif number < len(self.watches):
            for event in self.watches[number]:
                yield json.dumps(event).encode() + b"\n"
        else:
            self.over.wait(PATIENCE)

    def _lists_asked(self) -> int:
        return sum("watch=1" not in earlier for earlier in self.asked)


@dataclass
class Plain:
    """An Access without TLS."""

    port: int
    headers: dict[str, str] = field(default_factory=dict)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=2 * PATIENCE)


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Server], Mirror]]:
    monkeypatch.setattr("e2e.cluster.netpol_api.time.sleep", lambda _: None)
    opened: list[tuple[ThreadingHTTPServer, Server]] = []

    def start(server: Server) -> Mirror:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                for part in server.answer(self.path):
                    self.wfile.write(part)

            def log_message(self, *_: Any) -> None:
                pass

        listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        opened.append((listener, server))
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        access = cast("Access", Plain(listener.server_port))
        mirror = Mirror(access, PATH, lambda: None, lambda _: None)
        threading.Thread(target=mirror.follow, daemon=True).start()
        return mirror

    yield start
    for listener, server in opened:
        server.over.set()
        listener.shutdown()
        listener.server_close()


def _await_names(mirror: Mirror, expected: set[str]) -> None:
    seen: object = None
    for _ in range(400):
        objects = mirror.objects()
        seen = None if objects is None else {one["metadata"]["name"] for one in objects}
        if seen == expected:
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"expected {expected}, saw {seen}")


def test_the_mirror_follows_events_and_goes_on_after_the_last_version(follow: Callable[[Server], Mirror]) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "14"}}}
    events = [_event("ADDED", "b", 11), _event("DELETED", "a", 12), _event("MODIFIED", "b", 13), bookmark]
    server = Server([[_pod("a", 9)]], [events, [_event("ADDED", "c", 15)]])
    _await_names(follow(server), {"b", "c"})
    assert "resourceVersion=10" in server.asked[1]
    assert "resourceVersion=14" in server.asked[2]


def test_a_forgotten_version_means_a_fresh_list(follow: Callable[[Server], Mirror]) -> None:
    gone = {"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}
    server = Server([[_pod("a", 9)], [_pod("z", 20)]], [[gone]])
    _await_names(follow(server), {"z"})


def test_a_broken_line_means_a_fresh_list(follow: Callable[[Server], Mirror]) -> None:
    server = Server([[_pod("a", 9)], [_pod("z", 20)]], [[{"type": "ADDED", "object": {}}]])
    _await_names(follow(server), {"z"})


def test_nothing_is_known_before_the_first_list() -> None:
    mirror = Mirror(cast("Access", Plain(9)), PATH, lambda: None, lambda _: None)
    assert mirror.objects() is None
