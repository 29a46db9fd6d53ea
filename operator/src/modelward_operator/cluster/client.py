"""A thin raw-JSON client of the API server, on `kubernetes.aio`'s configuration and connection pool.

Why not its generated API classes: building their models costs more CPU than everything else a pass does. Here a request is a
path, a dict goes in, a dict comes out, and every failure has a type that says what may be concluded from it:

    OperatorError (errors.py)
    ├── Unreadable   5xx, 429, time-out, connection lost, 401, 403 on a read: nothing is known
    │   └── Forbidden    403 on a read: nor will it be, until somebody grants it
    ├── Conflict     409: somebody wrote in between
    ├── NotFound     404: it is not there
    ├── Expired      410: the resourceVersion or the page is too old
    └── Rejected     any other 4xx: the server will say the same again

Called by everything else in cluster/. It keeps no objects, and does not retry: that is the queue's work.
Tokens of service accounts are re-read from their file once a minute by kubernetes.aio's loader.
"""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject
from kubernetes.aio.config import ConfigException

from modelward_operator.cluster.kinds import Resource
from modelward_operator.cluster.tokenbucket import TokenBucket
from modelward_operator.errors import Conflict, OperatorError, Unreadable
from modelward_operator.facts import Json

TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=5)
SILENCE: Final = 70.0
"""Seconds without a byte after which a watch counts as dead; the server sends a bookmark about every 60."""
SERVER_TIMEOUT: Final = 300
APPLY: Final = "application/apply-patch+yaml; charset=utf-8"
"""The charset makes kubernetes.aio send our text as it is; the bare type it would write as JSON, whose surrogate pairs YAML refuses."""
MERGE: Final = "application/merge-patch+json"
_NOT_IN_YAML: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
READS: Final = frozenset({"get", "list", "watch"})


class NotFound(OperatorError):
    """The object, or its namespace or kind, is not there."""


class Forbidden(Unreadable):
    """The operator has no right to read this."""


class Expired(OperatorError):
    """The resourceVersion or the continuation of a listing is too old: list anew."""


class Rejected(OperatorError):
    """The API server refuses what was sent; trying the same again is of no use."""


def _no_fence() -> None:
    """Let every write through."""


class Client:
    """Requests to one API server.

    `count` is told verb, kind and status of each request (0: no answer). `fence` is called before each write and raises when
    this process may not write any more.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        bucket: TokenBucket | None = None,
        count: Callable[[str, str, int], None] = lambda _verb, _kind, _code: None,
        fence: Callable[[], None] = _no_fence,
    ) -> None:
        self.configuration = configuration
        # Otherwise aiohttp looks for proxies and a netrc file before each request, in a thread: a third of the time of a request.
        configuration.client_session_kwargs = {"trust_env": False}
        self._rest = RESTClientObject(configuration)
        self._base = str(configuration.host).rstrip("/")
        self._bucket = bucket or TokenBucket(100_000, 100_000)
        self._count = count
        self.fence = fence

    async def close(self) -> None:
        """Close the connections."""
        await self._rest.close()

    async def credentials(self) -> dict[str, Any]:
        """Return how this client reaches the API server, in the words of kopf's ConnectionInfo. Raises Unreadable."""
        scheme, _, token = (await self._authorization()).get("Authorization", "").partition(" ")
        configuration = self.configuration
        return {
            "server": self._base,
            "ca_path": configuration.ssl_ca_cert,
            "ca_data": None if configuration.ssl_ca_cert else configuration.ca_cert_data,
            "insecure": not configuration.verify_ssl,
            "scheme": scheme or None,
            "token": token or None,
            "certificate_path": configuration.cert_file,
            "private_key_path": configuration.key_file,
        }

    # ---- reads

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """Return one object; raises NotFound, Unreadable."""
        return await self._request("get", resource, resource.path(namespace, name))

    async def pages(
        self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        """Yield a listing page by page, with the resourceVersion of the listing as a whole."""
        query = {"limit": str(resource.page), "labelSelector": labels, "fieldSelector": fields}
        path = resource.path(namespace)
        while True:
            page = await self._request("list", resource, path, {k: v for k, v in query.items() if v})
            items = page.get("items") or []
            for item in items:  # a listing leaves them out of its items
                item.setdefault("kind", resource.kind)
                item.setdefault("apiVersion", resource.api_version)
            yield items, page["metadata"]["resourceVersion"]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return

    async def watch(
        self, resource: Resource, namespace: str, *, labels: str, since: str
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield watch events, bookmarks among them, until the server ends the stream.

        Raises Expired when `since` is too old, Unreadable when the connection breaks or stays silent.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(SERVER_TIMEOUT),
            "labelSelector": labels,
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE)
        path = resource.path(namespace)
        response = await self._send("watch", resource, path, {k: v for k, v in query.items() if v}, timeout=timeout)
        with _aborting(response), _answers(f"watch {resource.kind}"):
            async for line in _lines(response.content):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(int(event["object"].get("code", 500)), event["object"], "watch", resource)
                yield event

    # ---- writes

    async def apply(
        self, resource: Resource, body: Json, *, manager: str, force: bool, subresource: str = ""
    ) -> dict[str, Any]:
        """Server-side apply; returns the object as it is now. A `metadata.uid` in the body must match the live one."""
        meta = body["metadata"]
        path = resource.path(meta.get("namespace", ""), meta["name"], subresource)
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._request("apply", resource, path, query, body=_yaml(body), content=APPLY)

    async def create(self, resource: Resource, body: Json, *, manager: str, dry_run: bool = False) -> dict[str, Any]:
        """Create an object, or only ask whether one could; raises Conflict when it exists."""
        path = resource.path(body["metadata"].get("namespace", ""))
        query = {"fieldManager": manager} | ({"dryRun": "All"} if dry_run else {})
        return await self._request("create", resource, path, query, body=body)

    async def update(self, resource: Resource, body: Json, *, manager: str) -> dict[str, Any]:
        """Replace an object; raises Conflict unless its resourceVersion is the live one."""
        path = resource.path(body["metadata"].get("namespace", ""), body["metadata"]["name"])
        return await self._request("update", resource, path, {"fieldManager": manager}, body=body)

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Json, *, manager: str, subresource: str = ""
    ) -> dict[str, Any]:
        """Merge-patch (RFC 7386) an object or a subresource of it."""
        path = resource.path(namespace, name, subresource)
        return await self._request("patch", resource, path, {"fieldManager": manager}, body=body, content=MERGE)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> dict[str, Any]:
        """Delete exactly the object with `uid`, its dependents in the background; raises NotFound, Conflict (other uid)."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        return await self._request("delete", resource, resource.path(namespace, name), body=body)

    # ---- the wire

    async def _request(
        self,
        verb: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: Json | str | None = None,
        content: str = "application/json",
    ) -> dict[str, Any]:
        response = await self._send(verb, resource, path, query or {}, body=body, content=content, timeout=TIMEOUT)
        with contextlib.closing(response), _answers(f"{verb} {resource.kind}"):
            answer: dict[str, Any] = json.loads(await response.read())
            return answer

    async def _send(
        self,
        verb: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str],
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  -- aiohttp's own, with connect and read parts
        body: Json | str | None = None,
        content: str = "application/json",
    ) -> aiohttp.ClientResponse:
        """Send one request and return the response with its body unread; a refusal is raised as a typed error."""
        if verb not in READS:
            await self._bucket.take()
            self.fence()
        url = f"{self._base}{path}?{urlencode(query)}" if query else self._base + path
        headers = {"Content-Type": content, "Accept": "application/json", **await self._authorization()}
        status = 0
        try:
            with _answers(f"{verb} {resource.kind}"):
                answer = await self._rest.request(METHODS[verb], url, headers, body, _request_timeout=timeout)
                status = answer.status
                response: aiohttp.ClientResponse = answer.response
                if status >= 400:
                    with contextlib.closing(response):
                        raise _error(status, _parse(await response.read()), verb, resource)
                return response
        finally:
            self._count(verb, resource.kind, status)

    async def _authorization(self) -> dict[str, str]:
        try:
            bearer = (await self.configuration.auth_settings()).get("BearerToken")
        except (OSError, ConfigException) as error:
            raise Unreadable(f"credentials cannot be read: {error}") from error
        return {"Authorization": str(bearer["value"])} if bearer else {}


METHODS: Final = {
    "get": "GET", "list": "GET", "watch": "GET", "apply": "PATCH", "patch": "PATCH",
    "create": "POST", "update": "PUT", "delete": "DELETE",
}  # fmt: skip


@contextlib.contextmanager
def _answers(what: str) -> Iterator[None]:
    """Turn the connection's failures into Unreadable."""
    try:
        yield
    except (aiohttp.ClientError, OSError, ValueError) as error:  # TimeoutError is an OSError
        raise Unreadable(f"{what}: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _aborting(response: aiohttp.ClientResponse) -> Iterator[None]:
    """Leave a stream at once: who stops listening in the middle need not say goodbye in TLS, and would wait for the answer."""
    try:
        yield
    finally:
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()
        response.close()


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield whole lines, however long: aiohttp's readline gives up at its buffer's size."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line


def _yaml(body: Json) -> str:
    """Return JSON that is YAML too: beyond the BMP as it is, and escaped what YAML has no room for."""
    return _NOT_IN_YAML.sub(lambda sign: f"\\u{ord(sign[0]):04x}", json.dumps(body, ensure_ascii=False))


def _parse(text: bytes) -> Json:
    with contextlib.suppress(ValueError):
        parsed = json.loads(text)
        if isinstance(parsed, dict):
            return parsed
    return {"message": text.decode("utf-8", "replace")[:500]}


def _error(code: int, status: Json, verb: str, resource: Resource) -> OperatorError:
    message = f"{verb} {resource.kind}: {code} {status.get('message') or status.get('reason') or 'no message'}"
    if code == 404:
        return NotFound(message)
    if code == 409:
        return Conflict(message)
    if code == 410:
        return Expired(message)
    if code == 403 and verb in READS:
        return Forbidden(message)
    if code >= 500 or code in {401, 408, 429}:
        return Unreadable(message)
    return Rejected(str(status.get("message") or message))
