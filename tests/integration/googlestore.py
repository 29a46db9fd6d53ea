"""Google Cloud Storage as far as it can be had here: a real store that speaks its XML API, behind a gate that asks who calls.

The store is versitygw: listing, ranges and ETags are real. The gate holds tokens against the service account's public key, and plays the
metadata server. The integration ring runs it on loopback, the end-to-end cases on the node in front of the cluster's own store.
"""

import http.client
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

KEY: Final = rsa.generate_private_key(65537, 2048)
EMAIL: Final = "reader@project.iam.gserviceaccount.com"
METADATA_TOKEN: Final = "ya29.of-the-node"


def account_key(**changed: Any) -> str:
    """The service account's key as Google hands it out, with fields changed, or left out by None."""
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    known = {"type": "service_account", "client_email": EMAIL, "private_key_id": "1", "private_key": pem, **changed}
    return json.dumps({name: value for name, value in known.items() if value is not None})


@dataclass
class Gate:
    """Asks who calls, and passes on what it lets in to the S3 store at `endpoint`, as who may read there."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    address: str = "127.0.0.1"
    port: int = 0
    public: bool = False
    account: bool = True  # does the metadata server have one?
    asked: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        """Where it listens."""
        return f"{self.address}:{self.port}"

    def lets_in(self, authorization: str) -> bool:
        """Is it the node's token, or one that the service account has signed for reading?"""
        token = authorization.removeprefix("Bearer ")
        if self.public or token == METADATA_TOKEN:
            return True
        try:
            claims = jwt.decode(token, KEY.public_key(), algorithms=["RS256"], options={"require": ["exp", "iss"]})
        except jwt.PyJWTError:
            return False
        return claims["iss"] == EMAIL and "cloud-platform" in claims["scope"]

    def metadata(self, path: str, flavor: str | None) -> tuple[int, dict[str, str], bytes]:
        """What the metadata server of a node answers."""
        known = {"Metadata-Flavor": "Google"}
        if flavor != "Google" or not self.account:
            return 404, known, b""
        if path.endswith("/email"):
            return 200, known, EMAIL.encode()
        return 200, known, json.dumps({"access_token": METADATA_TOKEN, "expires_in": 3600}).encode()

    def pass_on(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """The store's own answer."""
        signed = AWSRequest("GET", f"{self.endpoint}{path}", headers=headers)
        S3SigV4Auth(Credentials(self.access_key, self.secret_key), "s3", "us-east-1").add_auth(signed)
        with closing(http.client.HTTPConnection(urlsplit(self.endpoint).netloc, timeout=20)) as connection:
            connection.request("GET", path, headers=dict(signed.headers.items()))
            answer = connection.getresponse()
            dropped = {"content-length", "date", "connection"}
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in dropped}
            return answer.status, kept, answer.read()


@contextmanager
def gate(endpoint: str, access_key: str, secret_key: str, address: str = "127.0.0.1") -> Iterator[Gate]:
    """The gate in front of a store, on a free port of `address`."""
    ours = Gate(endpoint, access_key, secret_key, address)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            ours.asked.append(self.path)
            if self.path.startswith("/computeMetadata/"):
                status, headers, body = ours.metadata(self.path, self.headers.get("metadata-flavor"))
            elif not ours.lets_in(self.headers.get("authorization", "")):
                status, headers = 401, {}
                body = b"<Error><Code>AuthenticationRequired</Code><Message>Authentication required.</Message></Error>"
            else:
                wanted = {name: self.headers[name] for name in ("Range", "If-Match") if name in self.headers}
                status, headers, body = ours.pass_on(self.path, wanted)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer((address, 0), Handler) as server:
        ours.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield ours
        server.shutdown()
