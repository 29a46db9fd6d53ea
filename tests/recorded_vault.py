"""A stand-in for Vault in the quick rings: Transit and the Kubernetes auth method by their documentation, with Vault's own error texts.

It proves how our client talks and what it makes of each answer, and nothing about Vault: a real Vault runs in `make e2e SUITE=keys`.
"""

import base64
import json
import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

JWT = "the.pods.token"


@dataclass
class Vault:
    """What it holds, and what it was asked; tests change it while it runs."""

    keys: dict[str, list[bytes]] = field(default_factory=lambda: {"fraud": [os.urandom(32)]})
    oldest: int = 1  # min_decryption_version
    role: str = "risk"
    lease: int = 3600
    tokens: set[str] = field(default_factory=set)
    answer: tuple[int, Any] | None = None  # given to everything instead
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # path, headers
    address: str = ""

    def handle(self, path: str, headers: dict[str, str], sent: dict[str, str]) -> tuple[int, Any]:
        self.asked.append((path, headers))
        if self.answer:
            return self.answer
        match path.split("/"):
            case ["", "v1", "auth", "kubernetes", "login"]:
                return self._login(sent)
            case ["", "v1", "transit", verb, key]:
                if headers.get("x-vault-token") not in self.tokens:
                    return _errors(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
                return self._encrypt(key, sent) if verb == "encrypt" else self._decrypt(key, sent)
        return _errors(404, f'no handler for route "{path[4:]}". route entry not found.')

    def _login(self, sent: dict[str, str]) -> tuple[int, Any]:
        if sent["role"] != self.role:
            return _errors(400, f'invalid role name "{sent["role"]}"')
        if sent["jwt"] != JWT:
            return _errors(403, "permission denied")
        token = f"hvs.{len(self.asked)}"
        self.tokens.add(token)
        return 200, {"auth": {"client_token": token, "lease_duration": self.lease}}

    def _encrypt(self, key: str, sent: dict[str, str]) -> tuple[int, Any]:
        versions = self.keys.setdefault(key, [os.urandom(32)])
        nonce = os.urandom(12)
        bound = base64.b64decode(sent["associated_data"])
        sealed = nonce + AESGCM(versions[-1]).encrypt(nonce, base64.b64decode(sent["plaintext"]), bound)
        return 200, {"data": {"ciphertext": f"vault:v{len(versions)}:{base64.b64encode(sealed).decode()}"}}

    def _decrypt(self, key: str, sent: dict[str, str]) -> tuple[int, Any]:
        if key not in self.keys:
            return _errors(400, "encryption key not found")
        _, version, sealed = sent["ciphertext"].split(":")
        number, content = int(version[1:]), base64.b64decode(sealed)
        if number > len(self.keys[key]):
            return _errors(400, "invalid ciphertext: version is too new")
        if number < self.oldest:
            return _errors(400, "ciphertext or signature version is disallowed by policy (too old)")
        try:
            bound = base64.b64decode(sent["associated_data"])
            plain = AESGCM(self.keys[key][number - 1]).decrypt(content[:12], content[12:], bound)
        except InvalidTag:
            return _errors(400, "invalid ciphertext: unable to decrypt")
        return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}


def _errors(status: int, text: str) -> tuple[int, Any]:
    return status, {"errors": [text]}


@contextmanager
def running(certificate: Path | None = None) -> Iterator[Vault]:
    """It listens; with a certificate (and key, in one PEM file) by TLS."""
    vault = Vault()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer = vault.handle(self.path, {k.lower(): v for k, v in self.headers.items()}, sent)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    vault.address = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield vault
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
