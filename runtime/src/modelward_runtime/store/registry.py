"""HTTP to one registry: TLS and proxies, who we are, where a redirect may lead, and what an answer means.

`oci.py` and `push.py` ask through it. It follows the OCI distribution specification 1.1 and its token authentication: a request goes
out as it is, a 401 says what is wanted, a bearer token from the service that it names or the user and password themselves, and the
request goes out again. It must not know what manifests and blobs are. No credential, token or header gets into a message.
"""

import os
import re
import ssl
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlencode, urljoin, urlsplit

import msgspec
import urllib3
from urllib3.exceptions import HTTPError

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.dockerconfig import Credentials
from modelward_runtime.store.locate import fetch_error
from modelward_runtime.store.remote import read_bundle

Response = urllib3.BaseHTTPResponse
_CONNECT: Final = 10.0  # seconds
_MOST_REDIRECTS: Final = 5
_MOST_BYTES: Final = 1 << 20  # of an answer that is no blob and no manifest
_MOST_DRAINED: Final = 1 << 16
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_CHALLENGE: Final = re.compile(r'([a-z_]+)="([^"]*)"', re.IGNORECASE)


class Registry:
    """One registry, for one purpose: `scope` is what a token is asked for, `repository:NAME:pull`."""

    def __init__(self, base: str, scope: str, credentials: Credentials, ca_bundle: Path | None, stall: float) -> None:
        self._base = base.rstrip("/")
        self._scope = scope
        self._credentials = credentials
        self._authorization = ""
        self._tls = _trust(ca_bundle)
        self._timeout = urllib3.Timeout(connect=_CONNECT, read=stall / 3)
        self._direct = urllib3.PoolManager(ssl_context=self._tls)
        self._proxies: dict[str, urllib3.ProxyManager] = {}  # by the proxy's URL

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
        response = self._open(method, url, doing, {**sent, **self._ours(url)}, body)
        if response.status == 401 and self._is_ours(url):
            self._authorization = self._authorise(response, doing)
            response = self._open(method, url, doing, {**sent, **self._ours(url)}, body)
        for _ in range(_MOST_REDIRECTS):
            target = response.headers.get("location", "")
            if response.status not in _REDIRECTS or not target:
                break
            _finish(response)
            url = self.resolve(url, target, doing)
            response = self._open(method, url, doing, {**sent, **self._ours(url)}, body)
        if response.status not in expected:
            raise self._refusal(response, doing)
        return response

    def resolve(self, url: str, target: str, doing: str) -> str:
        """Where a redirect or an upload's location leads; never from TLS to plain HTTP."""
        there = urljoin(urljoin(f"{self._base}/", url), target)
        if urlsplit(there).scheme != "https" and self._base.startswith("https:"):
            raise fetch_error(LoadReason.ACCESS_DENIED, f"{doing}: {self.name} leads to a place without TLS")
        return there

    def _ours(self, url: str) -> dict[str, str]:
        """Who we are, where that is the registry itself: not to a place that a redirect leads to."""
        return {"Authorization": self._authorization} if self._authorization and self._is_ours(url) else {}

    def _is_ours(self, url: str) -> bool:
        return urlsplit(url)[:2] == urlsplit(self._base)[:2]

    def _open(self, method: str, url: str, doing: str, headers: Mapping[str, str], body: bytes) -> Response:
        try:
            return self._pool(url).request(
                method,
                url,
                headers={"User-Agent": "modelward", **headers},
                body=body or None,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError, ValueError) as error:
            raise self.explain(error, doing) from None

    def _pool(self, url: str) -> urllib3.PoolManager:
        """Directly, or through the proxy that the environment names."""
        if not any(name.lower().endswith("_proxy") for name in os.environ):
            return self._direct
        from urllib.request import getproxies, proxy_bypass  # noqa: PLC0415  start-up: rarely needed

        parts, proxies = urlsplit(url), getproxies()
        proxy = proxies.get(parts.scheme) or proxies.get("all", "")
        if not proxy or proxy_bypass(parts.netloc):
            return self._direct
        if proxy not in self._proxies:
            who = urlsplit(proxy).netloc.rpartition("@")[0]
            known = urllib3.make_headers(proxy_basic_auth=unquote(who)) if who else None
            self._proxies[proxy] = urllib3.ProxyManager(proxy, proxy_headers=known, ssl_context=self._tls)
        return self._proxies[proxy]

    def _authorise(self, response: Response, doing: str) -> str:
        """What the challenge of a 401 asks for, as the header Authorization."""
        challenge = ", ".join(response.headers.getlist("www-authenticate"))
        _finish(response)
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
        response = self._open("GET", url, f"{doing}: asking for a token", ours, b"")
        if response.status != 200:
            raise self._refusal(response, f"{doing}: asking for a token")
        token = _Token.of(self.content(response, doing))
        if not token:
            raise self._denied(doing, "the token service gave no token")
        return token

    def content(self, response: Response, doing: str, most: int = _MOST_BYTES) -> bytes:
        """The whole of a small answer; LoadError when it is larger than `most`."""
        try:
            content = bytearray()
            while piece := response.read(min(1 << 16, most + 1 - len(content))):
                content += piece
        except (HTTPError, OSError) as error:
            raise self.explain(error, doing) from None
        finally:
            response.close()
        if len(content) > most:
            raise fetch_error(LoadReason.INVALID_MODEL, f"{doing}: the answer is larger than {most} bytes")
        return bytes(content)

    def explain(self, error: Exception, doing: str) -> LoadError:
        """A connection's failure as a reason and one sentence; transient but for a certificate that does not hold."""
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text or "Hostname mismatch" in text:
            why = re.search(r"verify failed: ([^(\n]{1,200})", text)
            said = why[1].strip() if why else "its certificate is not trusted"
            return fetch_error(
                LoadReason.CERTIFICATE_INVALID,
                f"{doing} at {self.name}: {said}; a private CA belongs into model.storage.caBundleRef",
            )
        said = re.sub(r"HTTPS?Connection(Pool)?\(.*?\): |https?://\S+", "", text)[:200] or type(error).__name__
        return fetch_error(LoadReason.SOURCE_UNREACHABLE, f"{doing} at {self.name}: {said}", permanent=False)

    def _refusal(self, response: Response, doing: str) -> LoadError:
        status = response.status
        said = _said(self.content(response, doing) if status >= 400 else b"") or f"HTTP {status}"
        response.close()
        told = f"{doing} at {self.name}: {said}"
        if status in {401, 403}:
            return self._denied(doing, said)
        if status == 404:
            return fetch_error(LoadReason.MODEL_NOT_FOUND, told)
        return fetch_error(LoadReason.SOURCE_UNREACHABLE, told, permanent=False)

    def _denied(self, doing: str, said: str) -> LoadError:
        lacking = f"; {self._credentials.lacking}" if self._credentials.lacking else ""
        return fetch_error(LoadReason.ACCESS_DENIED, f"{doing} at {self.name}: {said}{lacking}")


def _trust(ca_bundle: Path | None) -> ssl.SSLContext:
    """The system's roots, and the bundle's."""
    trust = ssl.create_default_context()
    if ca_bundle:
        read_bundle(ca_bundle)
        try:
            trust.load_verify_locations(ca_bundle)
        except ssl.SSLError as error:
            raise fetch_error(
                LoadReason.CERTIFICATE_INVALID, f"the CA bundle {ca_bundle} cannot be read: {error.reason}"
            ) from error
    return trust


def _finish(response: Response) -> None:
    """Be done with an answer whose body says nothing, and keep the connection where that is cheap."""
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) <= _MOST_DRAINED:
        response.drain_conn()
    else:
        response.close()


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""

    @classmethod
    def of(cls, content: bytes) -> str:
        """The token in an answer; empty when there is none that a header can hold."""
        try:
            answer = msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError):
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
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    words = "; ".join(f"{error.code}: {error.message}" for error in errors[:3])
    return "".join(sign for sign in " ".join(words.split()) if sign.isprintable())[:300]
