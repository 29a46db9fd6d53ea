"""A web server with TLS: files, ranges, ETags and credentials as a good one has them, and every bad manner on command."""

import http.server
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import unquote

from tests.integration.objectstore import Certificates

BLOCK: Final = 1 << 16
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")
Manner = Callable[["Request"], bool]  # answers, and says whether it did


@dataclass
class Site:
    """What it serves, what it was asked, and how it behaves."""

    files: dict[str, bytes] = field(default_factory=dict)  # by the path
    address: str = "127.0.0.1"
    port: int = 0
    authorization: str = ""  # what a request must carry
    ranges: bool = True
    etag: str | None = '"1"'
    manners: list[Manner] = field(default_factory=list)  # the first that answers does; they are asked for each request
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # path, Range, Authorization
    allowance: list[int] = field(default_factory=list)  # bodies to come that are cut after so many bytes

    @property
    def host(self) -> str:
        """As a URI names it."""
        return f"{self.address}:{self.port}"

    def paths(self) -> list[str]:
        """What was asked for."""
        return [path for path, *_ in self.asked]


class Request(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        """Answer as the manners say, or well."""
        sent = self.headers.get("authorization", "")
        self.site.asked.append((self.path, self.headers.get("range", ""), sent))
        if any(manner(self) for manner in list(self.site.manners)):
            return
        if self.site.authorization and sent != self.site.authorization:
            self.tell(401, b"who are you?", **{"WWW-Authenticate": "Basic"})
            return
        content = self.site.files.get(unquote(self.path))
        if content is None:
            self.tell(404, b"no such file")
        else:
            self._send(content)

    def tell(self, status: int, body: bytes = b"", **headers: str) -> None:
        """One answer."""
        self.send_response_only(status)  # without a Date and a Server of its own
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self._write(body)

    def _send(self, content: bytes) -> None:
        headers: dict[str, Any] = {"ETag": self.site.etag} if self.site.etag else {}
        headers["Last_Modified"] = formatdate(time.time() - 3600, usegmt=True)
        found = _RANGE.fullmatch(self.headers.get("range", ""))
        condition = self.headers.get("if-range")
        if not self.site.ranges or found is None or (condition and condition != self.site.etag):
            self.tell(200, content, **headers)
            return
        start = int(found[1])
        stop = min(int(found[2]) + 1 if found[2] else len(content), len(content))
        if start >= len(content):
            self.tell(416, **headers, Content_Range=f"bytes */{len(content)}")
        else:
            self.tell(206, content[start:stop], **headers, Content_Range=f"bytes {start}-{stop - 1}/{len(content)}")

    def _write(self, body: bytes) -> None:
        allowed = self.site.allowance.pop(0) if len(body) > 1 and self.site.allowance else len(body)
        for at in range(0, min(allowed, len(body)), BLOCK):
            self.wfile.write(body[at : min(at + BLOCK, allowed)])
        if allowed < len(body):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""


def redirecting(where: str, status: int = 302, only: str = "/") -> Manner:
    """Leads elsewhere, for paths that begin so."""

    def manner(request: "Request") -> bool:
        if not request.path.startswith(only):
            return False
        request.tell(status, Location=where.replace("{path}", request.path))
        return True

    return manner


def page(request: Request) -> bool:
    """A page for people, whatever was asked for."""
    request.tell(200, b"<html>log in</html>", Content_Type="text/html; charset=utf-8")
    return True


@contextmanager
def web_server(made: Certificates | None, address: str = "127.0.0.1") -> Iterator[Site]:
    """The server; without certificates it speaks plain HTTP."""
    site = Site(address=address)
    handler = type("Handler", (Request,), {"site": site})

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Who is turned away, or leaves, is no news."""

    with Server((address, 0), handler) as server:
        if made:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(made.certificate, made.key)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        site.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield site
        server.shutdown()
