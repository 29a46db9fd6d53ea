"""HTTP to one registry: TLS and proxies, who we are, where a redirect may lead, and what an answer means.

`oci.py` and `push.py` ask through it. It follows the OCI distribution specification 1.1 and its token authentication: a request goes
out as it is, a 401 says what is wanted, a bearer token from the service that it names or the user and password themselves, and the
request goes out again. It must not know what manifests and blobs are. No credential, token or header gets into a message.
"""

import re
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urljoin

import msgspec

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.dockerconfig import Credentials
from modelward_runtime.store.locate import fetch_error
from modelward_runtime.store.transport import Response, Transport, finish, is_web_page, rest

_MOST_BYTES: Final = 1 << 20  # of an answer that is no blob and no manifest
_CHALLENGE: Final = re.compile(r'([a-z_]+)="([^"]*)"', re.IGNORECASE)


class Registry:
    """One registry, for one purpose: `scope` is what a token is asked for, `repository:NAME:pull`."""

    def __init__(self, base: str, scope: str, credentials: Credentials, ca_bundle: Path | None, stall: float) -> None:
        self._base = base.rstrip("/")
        self._scope = scope
        self._credentials = credentials
        self._authorization = ""
        self._asking = threading.Lock()  # held while a token is asked for: the lanes of a download share it
        self.transport = Transport(self._base, ca_bundle, stall)

    @property
    def name(self) -> str:
        """As messages call it."""
        return self._base

    def ask(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        expected: Collection[int] = (200,),
    ) -> Response:
        """The open answer to a request below the base, or to a URL that the registry gave; LoadError unless its code is `expected`."""
        url, sent = urljoin(f"{self._base}/", path), headers or {}
        used = self._ours(url)
        response = self.transport.open(method, url, doing, {**sent, **used}, body)
        if response.status == 401 and self.transport.is_ours(url):
            self._renew(response, used, doing)
            response = self.transport.open(method, url, doing, {**sent, **self._ours(url)}, body)
        response = self.transport.follow(
            response, method, url, doing, lambda there: {**sent, **self._ours(there)}, body
        )
        if response.status not in expected:
            raise self._refusal(response, doing)
        return response

    def resolve(self, url: str, target: str, doing: str) -> str:
        """Where a redirect or an upload's location leads; never from TLS to plain HTTP."""
        return self.transport.resolve(url, target, doing)

    def content(self, response: Response, doing: str, most: int = _MOST_BYTES) -> bytes:
        """The whole of a small answer; LoadError when it is larger than `most`."""
        return self.transport.read(response, doing, most)

    def document(self, response: Response, doing: str, most: int) -> bytes:
        """As `content`; LoadError also when a page for people came: of a login, or of a proxy on the way."""
        if is_web_page(response):
            response.close()
            raise fetch_error(
                LoadReason.INVALID_MODEL,
                f"{doing} at {self.name}: a web page came in place of a manifest: is this the registry, and not the pages about it?",
            )
        return self.content(response, doing, most)

    def _ours(self, url: str) -> dict[str, str]:
        """Who we are, where that is the registry itself: not to a place that a redirect leads to."""
        if not self._authorization or not self.transport.is_ours(url):
            return {}
        return {"Authorization": self._authorization}

    def _renew(self, response: Response, used: Mapping[str, str], doing: str) -> None:
        """Answer a 401, unless another lane has done so since this one asked."""
        with self._asking:
            if used.get("Authorization", "") == self._authorization:
                self._authorization = self._authorise(response, doing)
            else:
                finish(response)

    def _authorise(self, response: Response, doing: str) -> str:
        """What the challenge of a 401 asks for, as the header Authorization."""
        challenge = ", ".join(response.headers.getlist("www-authenticate"))
        finish(response)
        bearer = challenge.lower().find("bearer ")
        if bearer >= 0:
            wanted = {key.lower(): value for key, value in _CHALLENGE.findall(challenge[bearer:])}
            return "Bearer " + self._token(wanted, doing)
        if not self._credentials:
            raise self._denied(doing, "the registry wants credentials")
        return self._credentials.basic

    def _token(self, wanted: Mapping[str, str], doing: str) -> str:
        realm = self.resolve(self._base, wanted.get("realm", ""), doing)
        query = {"scope": wanted.get("scope") or self._scope, "service": wanted.get("service", "")}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode({key: value for key, value in query.items() if value})}"
        ours = {"Authorization": self._credentials.basic} if self._credentials else {}
        response = self.transport.open("GET", url, f"{doing}: asking for a token", ours)
        if response.status != 200:
            raise self._refusal(response, f"{doing}: asking for a token")
        token = _Token.of(self.content(response, doing))
        if not token:
            raise self._denied(doing, "the token service gave no token")
        return token

    def _refusal(self, response: Response, doing: str) -> LoadError:
        status, wait = response.status, rest(response)
        said = _said(self.content(response, doing) if status >= 400 else b"") or f"HTTP {status}"
        response.close()
        told = f"{doing} at {self.name}: {said}"
        if status in {401, 403}:
            return self._denied(doing, said)
        if status == 404:
            return fetch_error(LoadReason.MODEL_NOT_FOUND, told)
        return LoadError(LoadReason.SOURCE_UNREACHABLE, told, "fetch", permanent=False, retry_after=wait)

    def _denied(self, doing: str, said: str) -> LoadError:
        lacking = f"; {self._credentials.lacking}" if self._credentials.lacking else ""
        return fetch_error(LoadReason.ACCESS_DENIED, f"{doing} at {self.name}: {said}{lacking}")


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""

    @classmethod
    def of(cls, content: bytes) -> str:
        """The token in an answer; empty when there is none that a header can hold."""
        try:
            answer = msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        token = answer.token or answer.access_token
        return token if token.isascii() and token.isprintable() else ""


class _Error(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct, frozen=True):
    errors: list[_Error] = []


def _said(content: bytes) -> str:
    """The registry's own words, on one line."""
    try:
        errors = msgspec.json.decode(content, type=_Errors).errors
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    words = "; ".join(f"{error.code}: {error.message}" for error in errors[:3])
    return "".join(sign for sign in " ".join(words.split()) if sign.isprintable())[:300]
