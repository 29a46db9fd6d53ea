"""A real S3 server (versitygw) on loopback, TLS for it from a private CA, and a proxy that misbehaves on command."""

import contextlib
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.store import S3Store

from e2e.cluster.binaries import binary
from tests.ports import free_ports

ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


@dataclass(frozen=True)
class ObjectStore:
    """A running server; buckets are folders of `data`."""

    port: int
    data: Path
    scheme: str = "http"

    @property
    def endpoint(self) -> str:
        """As spec.model.storage.endpoint spells it."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def put(self, bucket: str, key: str, content: bytes | Path) -> None:
        """Upload one object, through the plain-HTTP server."""
        (self.data / bucket).mkdir(exist_ok=True)
        obstore.put(self._client(bucket), key, content)

    def sign(self, bucket: str, key: str) -> str:
        """A URL that anybody may read one object by, for an hour."""
        url: str = obstore.sign(self._client(bucket), "GET", key, timedelta(hours=1))
        return url

    def _client(self, bucket: str) -> S3Store:
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True, "timeout": timedelta(minutes=5)},
        )


@contextmanager
def object_store(folder: Path, *, certificate: Path | None = None, key: Path | None = None) -> Iterator[ObjectStore]:
    """The server, with TLS when there is a certificate."""
    data, metadata = folder / "data", folder / "metadata"
    for path in (data, metadata):
        path.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    tls = ["--cert", str(certificate), "--key", str(key)] if certificate else []
    options = ["--port", f"127.0.0.1:{port}", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--quiet", "--keep-alive"]
    log = (folder / f"versitygw-{port}.log").open("w")
    child = subprocess.Popen(
        [str(binary("versitygw")), *options, *tls, "posix", "--sidecar", str(metadata), str(data)],
        stdout=log,
        stderr=log,
    )
    try:
        _wait_for(port, child)
        yield ObjectStore(port, data, "https" if certificate else "http")
    finally:
        child.kill()
        child.wait()
        log.close()


def _wait_for(port: int, child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"versitygw does not answer on {port}, its exit code is {child.poll()}")


@dataclass(frozen=True)
class Certificates:
    """A private CA's certificate, and a server certificate and key that it signed."""

    ca: Path
    certificate: Path
    key: Path


def certificates(folder: Path, *, address: str = "127.0.0.1", days: int = 1) -> Certificates:
    """Made with openssl, for an address. `days` -1: expired."""
    folder.mkdir(parents=True, exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test CA")
    openssl("req", *new_key, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=store")
    (folder / "san").write_text(f"subjectAltName=IP:{address}\n")
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "san", "-days", str(days))
    openssl("x509", "-req", "-in", "tls.csr", "-out", "tls.crt", *signing)
    return Certificates(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")


class Proxy(socketserver.ThreadingTCPServer):
    """Passes TCP on to `target`; of each answer only `allowance` bytes, then it cuts the connection, or falls silent."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.target = target
        self.allowance: list[int | None] = []  # one per connection to come, None: everything; when used up: everything
        self.silent = False  # fall silent where it would cut
        self.connections = 0
        self.over = threading.Event()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.BaseRequestHandler):
    server: Proxy

    def handle(self) -> None:
        self.server.connections += 1
        allowance = self.server.allowance.pop(0) if self.server.allowance else None
        with socket.create_connection(("127.0.0.1", self.server.target)) as upstream:
            threading.Thread(target=_pass_on, args=(self.request, upstream), daemon=True).start()
            left = float("inf") if allowance is None else allowance
            while left > 0 and (piece := upstream.recv(min(65536, int(min(left, 65536))))):
                self.request.sendall(piece)
                left -= len(piece)
        if left <= 0 and self.server.silent:
            self.server.over.wait(60)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)


@contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    """A proxy on loopback, well-behaved until told otherwise."""
    with Proxy(target) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.over.set()
        server.shutdown()
