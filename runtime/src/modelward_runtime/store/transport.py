"""HTTP to a place where models are: TLS and proxies, where a redirect may lead, and what a broken connection or an answer's code means.

`registry.py` and `site.py` ask through it; their answers are streamed through `ranges.py`. It must not know who we are, nor what the bytes
are for. No header, token or query of a URL gets into a message.
"""

import logging
import os
import re
import ssl
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from modelward_runtime.errors import LoadError, LoadReason
from modelward_runtime.store.locate import fetch_error
from modelward_runtime.store.remote import LANES, is_page, read_bundle

logging.getLogger("urllib3").setLevel(logging.INFO)  # below it logs URLs as they are, with signatures
Response = urllib3.BaseHTTPResponse
Headers = Callable[
    [str], Mapping[str, str]
]  # what is sent to a URL: credentials belong to one place and follow no redirect
MOST_REDIRECTS: Final = 5
LONGEST_REST: Final = 600.0  # seconds; who asks for more is asked again after these
_CONNECT: Final = 10.0  # seconds
_MOST_DRAINED: Final = 1 << 16
_DIGITS: Final = 18  # of a length; Python itself reads no more than 4300
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Transport:
    """Requests to one place, and to where it redirects. `name` is what messages call it: its URL up to the path."""

    def __init__(self, name: str, ca_bundle: Path | None, stall: float) -> None:
        self.name = name
        self._tls = _trust(ca_bundle)
        self._timeout = urllib3.Timeout(connect=_CONNECT, read=stall / 3)
        self._direct = urllib3.PoolManager(ssl_context=self._tls, maxsize=LANES)
        self._proxies: dict[str, urllib3.ProxyManager] = {}  # by the proxy's URL

    def open(self, method: str, url: str, doing: str, headers: Mapping[str, str], body: bytes = b"") -> Response:
        """The open answer of one request, whatever its code; LoadError when there is none."""
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

    def follow(
        self, response: Response, method: str, url: str, doing: str, headers: Headers, body: bytes = b""
    ) -> Response:
        """The answer at the end of an answer's redirects; LoadError when there are too many, or one leads out of TLS."""
        for _ in range(MOST_REDIRECTS):
            target = response.headers.get("location", "")
            if response.status not in _REDIRECTS or not target:
                return response
            finish(response)
            url = self.resolve(url, target, doing)
            try:
                response = self.open(method, url, doing, headers(url), body)
            except LoadError as error:
                raise self._led_away(error, url) from None
        if response.status in _REDIRECTS:
            response.close()
            raise fetch_error(
                LoadReason.SOURCE_UNREACHABLE,
                f"{doing} at {self.name}: it redirects more than {MOST_REDIRECTS} times, probably in a circle: name the place where "
                "the redirects should end",
            )
        return response

    def resolve(self, url: str, target: str, doing: str) -> str:
        """Where a redirect or an upload's location leads; never from TLS to plain HTTP."""
        try:
            there = urljoin(urljoin(f"{self.name}/", url), target)
            scheme = urlsplit(there).scheme
        except ValueError:  # brackets that hold no address
            raise fetch_error(
                LoadReason.SOURCE_UNREACHABLE, f"{doing}: {self.name} leads to what is no address of the web"
            ) from None
        if scheme != "https" and self.name.startswith("https:"):
            raise fetch_error(LoadReason.ACCESS_DENIED, f"{doing}: {self.name} leads to a place without TLS")
        if scheme not in {"http", "https"}:
            raise fetch_error(LoadReason.ACCESS_DENIED, f"{doing}: {self.name} leads to a place that is not of the web")
        return there

    def is_ours(self, url: str) -> bool:
        """Is it the place itself: the same scheme, host and port?"""
        return urlsplit(url)[:2] == urlsplit(self.name)[:2]

    def read(self, response: Response, doing: str, most: int) -> bytes:
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

    def _led_away(self, error: LoadError, url: str) -> LoadError:
        """Name the host that a redirect led to, without what stands behind it: that may be a signature."""
        if self.is_ours(url):
            return error
        where = urlsplit(url)
        hint = (
            "; if its address is not open to the pod, open it with security.networkPolicy.egress"
            if error.reason is LoadReason.SOURCE_UNREACHABLE
            else ""
        )
        told = f"{error.message} (it redirects to {where.scheme}://{where.netloc.rpartition('@')[2]}{hint})"
        return LoadError(error.reason, told, error.stage, permanent=error.permanent)

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
            self._proxies[proxy] = urllib3.ProxyManager(
                proxy, proxy_headers=known, ssl_context=self._tls, maxsize=LANES
            )
        return self._proxies[proxy]


def finish(response: Response) -> None:
    """Be done with an answer whose body says nothing, and keep the connection where that is cheap."""
    length = announced(response)
    if length is not None and length <= _MOST_DRAINED:
        response.drain_conn()
    else:
        response.close()


def announced(response: Response) -> int | None:
    """How many bytes an answer says that it has; None where it does not, or not by a number that a file could have."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdecimal() and len(length) <= _DIGITS else None


def is_web_page(response: Response) -> bool:
    """Did a page for people come in place of a file?"""
    return is_page(response.headers.get("content-type", ""))


def rest(response: Response) -> float:
    """Seconds for which an answer asks to be left alone by `Retry-After`: a number, or a date beside the answer's own. 0: it does not."""
    told = response.headers.get("retry-after", "").strip()
    if told.isdecimal():
        return min(float(told[:9]), LONGEST_REST)
    try:
        then, now = parsedate_to_datetime(told), parsedate_to_datetime(response.headers.get("date", ""))
        return min(max((then - now).total_seconds(), 0.0), LONGEST_REST)
    except (ValueError, TypeError, OverflowError):
        return 0.0


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
