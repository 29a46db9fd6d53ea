"""A list-and-watch over one kind of the Kubernetes API with the standard library, for netpol.py alone.

It keeps a Mirror of the kind and says when it changed. Any error ends in a fresh list a second later: nothing is
remembered that could go stale.
"""

import base64
import http.client
import json
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Object = Mapping[str, Any]
_WATCH_SECONDS = 240


@dataclass(frozen=True)
class Access:
    """Where the API is and how this process proves who it is."""

    host: str
    port: int
    tls: ssl.SSLContext
    headers: Mapping[str, str]

    def connect(self) -> http.client.HTTPSConnection:
        """Open a connection whose reads give up well after the server should have ended the watch."""
        return http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=_WATCH_SECONDS + 30)


def read_kubeconfig(path: Path) -> Access:
    """Read the current context of a kubeconfig, written in JSON or (by way of kubectl) in YAML."""
    config = _parse(path)
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    server = urllib.parse.urlsplit(cluster["server"])
    tls = ssl.create_default_context(cadata=_bytes(cluster, "certificate-authority").decode())
    if "client-certificate" in user or "client-certificate-data" in user:
        with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
            pair.write(_bytes(user, "client-certificate") + b"\n" + _bytes(user, "client-key"))
            pair.flush()
            tls.load_cert_chain(pair.name)
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return Access(str(server.hostname), server.port or 443, tls, headers)


def _parse(path: Path) -> dict[str, Any]:
    text = path.read_text()
    if not text.lstrip().startswith("{"):
        command = ["kubectl", "config", "view", "--raw", "--flatten", "-o", "json", f"--kubeconfig={path}"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _bytes(entry: Mapping[str, Any], key: str) -> bytes:
    inline = entry.get(f"{key}-data")
    return base64.b64decode(inline) if inline else Path(entry[key]).read_bytes()


@dataclass
class Mirror:
    """All objects of one kind, kept fresh by `follow` in a thread of its own; `objects` is None until the first list."""

    access: Access
    path: str
    changed: Callable[[], None]
    report: Callable[[str], None]
    _objects: dict[tuple[str, str], Object] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def objects(self) -> list[Object] | None:
        """Copy the present set out, so that the reader needs no lock."""
        with self._lock:
            return None if self._objects is None else list(self._objects.values())

    def follow(self) -> None:
        """List, watch, and start again, for ever."""
        while True:
            try:
                version: str | None = self._list()
                while version is not None:
                    version = self._watch(version)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.report(f"{self.path}: {type(error).__name__}: {error}; listing again in a second")
                time.sleep(1)

    def _list(self) -> str:
        with closing(self.access.connect()) as connection:
            listing = json.loads(self._get(connection, "").read())
        with self._lock:
            self._objects = {_key(one): one for one in listing["items"]}
        self.changed()
        return str(listing["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> str | None:
        """Follow from `version`; return where to go on, or None when the server has forgotten that version."""
        query = f"?watch=1&allowWatchBookmarks=true&timeoutSeconds={_WATCH_SECONDS}&resourceVersion={version}"
        with closing(self.access.connect()) as connection:
            for event in _events(self._get(connection, query)):
                if event["type"] == "ERROR":
                    return None
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._take(event["type"], event["object"])
        return version

    def _take(self, kind: str, one: Object) -> None:
        with self._lock:
            kept = self._objects = self._objects or {}
            if kind == "DELETED":
                kept.pop(_key(one), None)
            else:
                kept[_key(one)] = one
        self.changed()

    def _get(self, connection: http.client.HTTPSConnection, query: str) -> http.client.HTTPResponse:
        connection.request("GET", self.path + query, headers=dict(self.access.headers))
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"status {response.status}: {response.read(300)!r}")
        return response


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    while line := response.readline():
        yield json.loads(line)


def _key(one: Object) -> tuple[str, str]:
    metadata = one["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
