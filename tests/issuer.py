"""A token issuer's address of keys, over HTTPS on loopback: the one party that no real component plays here."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.serving_certificates import Authority


class Issuer:
    """What it publishes, and how it behaves; all may change while it runs."""

    def __init__(self, port: int, ca: Path) -> None:
        self.ca = ca
        self.url = f"https://127.0.0.1:{port}/keys"
        self.keys: list[dict[str, Any]] = []
        self.status = 200
        self.content: bytes | None = None  # instead of the keys
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()


@contextmanager
def issuer(authority: Authority, folder: Path) -> Iterator[Issuer]:
    """Running while the block does."""
    pair = authority.issue()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "both.pem").write_bytes(pair.key + pair.certificate)
    (folder / "ca.pem").write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    made = Issuer(server.server_address[1], folder / "ca.pem")
    server.RequestHandlerClass = type("Bound", (Handler,), {"issuer": made})
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield made
    finally:
        made.may_answer.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers every GET with the keys."""

    issuer: Issuer

    def do_GET(self) -> None:
        made = self.issuer
        made.asked += 1
        made.may_answer.wait(30)
        body = json.dumps({"keys": made.keys}).encode() if made.content is None else made.content
        takes = "application/jwk-set+json" in self.headers.get("accept", "")  # as strict as Kubernetes' API server
        self.send_response(made.status if takes else 406)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not here."""
