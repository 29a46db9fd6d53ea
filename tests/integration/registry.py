"""A real registry (CNCF Distribution), on loopback unless told otherwise: open, with a password, with a token service, with TLS; and a way
to push what nobody should push."""

import base64
import contextlib
import hashlib
import http.client
import http.server
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from e2e.cluster.binaries import binary
from tests.integration.objectstore import Certificates
from tests.ports import free_ports

USER, PASSWORD = "robot", "sesame"
_HTPASSWD = f"{USER}:$2b$04$0V1ZVA6HxVCpveMYoUI90uyvZBAIOuY1sKm0H2X1g00FjfutyPvmG\n"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
TITLE = "org.opencontainers.image.title"


@dataclass(frozen=True)
class Registry:
    """A running registry; it keeps its blobs as files below `data`."""

    port: int
    data: Path
    scheme: str = "http"
    headers: Mapping[str, str] = field(default_factory=dict)  # of our own requests
    address: str = "127.0.0.1"

    @property
    def host(self) -> str:
        """As a URI names it."""
        return f"{self.address}:{self.port}"

    @property
    def endpoint(self) -> str:
        """As spec.model.storage.endpoint spells it."""
        return f"{self.scheme}://{self.host}"

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One plain request."""
        connection = http.client.HTTPConnection(self.address, self.port, timeout=20)
        known = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {**self.headers, **known})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def blob(self, repository: str, content: bytes) -> dict[str, Any]:
        """Push a blob in one piece; its descriptor."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        status, headers, _ = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202
        place = urlsplit(headers["location"])
        path = f"{place.path}?{place.query}&digest={digest}"
        assert self.ask("PUT", path, content, Content_Type="application/octet-stream")[0] == 201
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}

    def manifest(self, repository: str, tag: str, content: bytes, kind: str = MANIFEST_TYPE) -> str:
        """Push a manifest as it is; its digest."""
        status, headers, said = self.ask("PUT", f"/v2/{repository}/manifests/{tag}", content, Content_Type=kind)
        assert status == 201, said
        return headers["docker-content-digest"]

    def push(self, repository: str, tag: str, files: Mapping[str, bytes]) -> str:
        """Push a folder as ORAS does; the manifest's digest."""
        layers = [{**self.blob(repository, content), "annotations": {TITLE: name}} for name, content in files.items()]
        return self.manifest(repository, tag, json.dumps(manifest(self.blob(repository, b"{}"), layers)).encode())


def manifest(config: dict[str, Any], layers: list[dict[str, Any]]) -> dict[str, Any]:
    """An image manifest."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": "application/x.model",
        "config": config,
        "layers": layers,
    }


@contextmanager
def registry(
    folder: Path,
    *,
    auth: Mapping[str, Any] | None = None,
    tls: Certificates | None = None,
    address: str = "127.0.0.1",
) -> Iterator[Registry]:
    """The server; `auth` as in its configuration."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    listen: dict[str, Any] = {"addr": f"{address}:{port}", "secret": "x"}
    if tls:
        listen["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(data)}, "delete": {"enabled": True}},
        "http": listen,
        **({"auth": dict(auth)} if auth else {}),
    }
    file = folder / f"registry-{port}.yaml"
    file.write_text(yaml.safe_dump(settings))
    with (folder / f"registry-{port}.log").open("w") as log:
        environment = {"OTEL_TRACES_EXPORTER": "none"}
        child = subprocess.Popen([str(binary("registry")), "serve", str(file)], stdout=log, stderr=log, env=environment)
        try:
            _wait_for(address, port, child)
            yield Registry(port, data, "https" if tls else "http", address=address)
        finally:
            child.kill()
            child.wait()


def _wait_for(address: str, port: int, child: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"the registry does not answer on {port}, its exit code is {child.poll()}")


def password(folder: Path) -> dict[str, Any]:
    """The configuration of basic authentication."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "htpasswd").write_text(_HTPASSWD)
    return {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}


def docker_config(folder: Path, host: str, user: str = USER, word: str = PASSWORD) -> Path:
    """What `docker login` and a kubernetes.io/dockerconfigjson Secret hold."""
    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{user}:{word}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return folder / "config.json"


@dataclass
class TokenService:
    """The service that a registry sends its clients to; `asked` are the scopes that it was asked for, and by whom."""

    made: Certificates
    asked: list[tuple[str, str]] = field(default_factory=list)
    seconds: int = 300
    url: str = ""

    @property
    def auth(self) -> dict[str, Any]:
        """The registry's configuration."""
        bundle = str(self.made.certificate)
        return {"token": {"realm": self.url, "service": "test", "issuer": "test", "rootcertbundle": bundle}}

    def answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        """A token for what was asked; pull for everybody, push for the robot."""
        query = parse_qs(urlsplit(path).query)
        scope = query.get("scope", [""])[0]
        who = base64.b64decode(authorization.removeprefix("Basic ")).decode() if authorization else ""
        self.asked.append((scope, who.partition(":")[0]))
        if who not in {"", f"{USER}:{PASSWORD}"}:
            return 401, json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "who are you"}]}).encode()
        kind, name, actions = scope.split(":")
        allowed = [action for action in actions.split(",") if action == "pull" or who]
        return 200, json.dumps({"token": self._sign({"type": kind, "name": name, "actions": allowed})}).encode()

    def _sign(self, access: Mapping[str, Any]) -> str:
        now = int(time.time())
        claims = {
            "iss": "test",
            "aud": "test",
            "nbf": now - 5,
            "exp": now + self.seconds,
            "iat": now,
            "jti": "1",
            "access": [access],
        }
        certificate = x509.load_pem_x509_certificate(self.made.certificate.read_bytes())
        chain = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
        parts = ".".join(
            _part(json.dumps(part).encode()) for part in ({"alg": "ES256", "typ": "JWT", "x5c": [chain]}, claims)
        )
        key = load_pem_private_key(self.made.key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(parts.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{parts}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@contextmanager
def token_service(made: Certificates) -> Iterator[TokenService]:
    """The service on loopback, without TLS, as the registries that it serves."""
    service = TokenService(made)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = service.answer(self.path, self.headers.get("authorization", ""))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        service.url = f"http://127.0.0.1:{server.server_address[1]}/token"
        yield service
        server.shutdown()
