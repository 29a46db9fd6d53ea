"""A thin raw-JSON client of the API server, on `kubernetes.aio`'s configuration and connection pool.

Why not its generated API classes: building their models costs more CPU than everything else a pass does. Here a request is a
path, a dict goes in, a dict comes out, and every failure has a type that says what may be concluded from it.

     client.py ──▶ connections.py   TLS, proxy, pool, the fence   ──▶ API server
         ▲
         └──────── answers.py       a typed error, or a body;  glance.py: whether a watch event is news

Called by everything else in cluster/. It keeps no objects, and does not retry: that is the queue's work.
Tokens of service accounts are re-read from their file once a minute by kubernetes.aio's loader.
"""

import asyncio
import contextlib
import contextvars
import logging
import math
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException

from modelward_operator import log
from modelward_operator.cluster.answers import (
    READS,
    Expired,
    Forbidden,
    NotFound,
    Rejected,
    TooLarge,
    aborting,
    answered,
    error_of,
    lines_of,
    refusal_of,
    whole,
)
from modelward_operator.cluster.connections import Rest
from modelward_operator.cluster.glance import Known, event_of, nothing_known
from modelward_operator.cluster.kinds import Resource
from modelward_operator.cluster.notation import read_json, write_json, write_yaml
from modelward_operator.cluster.serverclock import ServerClock
from modelward_operator.cluster.tokenbucket import TokenBucket
from modelward_operator.errors import Unreadable
from modelward_operator.facts import Json

__all__ = ["Client", "Expired", "Forbidden", "NotFound", "Rejected"]  # who makes a request handles how it fails

TIME_LIMIT: Final = 30.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=TIME_LIMIT, sock_connect=5)
AT_ONCE: Final = 32
"""Requests under way at most, watches apart: more connections than that make an API server slower, not faster."""
PAGE_BYTES: Final = 4 * 2**20
"""Bytes of a page of a listing that are read: several times as many as a hundred pods have. Parsed they are up to ten times as many."""
SILENCE: Final = 70.0
"""Seconds without a byte after which a watch counts as dead; the server sends a bookmark about every 60."""
SERVER_TIMEOUT: Final = 300
APPLY: Final = "application/apply-patch+yaml"
YAML: Final = "application/yaml"
MERGE: Final = "application/merge-patch+json"
METHODS: Final = {
    "get": "GET", "list": "GET", "watch": "GET", "apply": "PATCH", "patch": "PATCH",
    "create": "POST", "update": "PUT", "delete": "DELETE",
}  # fmt: skip
AUDIT_ID: Final = "Audit-ID"
"""The header whose value the API server's audit log takes over for a request: so that a pass can be followed there."""

logger = logging.getLogger(__name__)

Fence = Callable[[], float]
"""Returns for how many seconds this process may still write; raises when it may not any more."""

_is_write: contextvars.ContextVar[bool] = contextvars.ContextVar("_is_write", default=False)


def _no_fence() -> float:
    """Let every write through, for as long as it takes."""
    return math.inf


class Client:
    """Requests to one API server.

    `count` is told verb, kind and status of each request (0: no answer). `fence` is asked before each write, and again when it has a
    connection. A write may take no longer than the fence says: past that the API server gives it up, and the connection is closed.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        bucket: TokenBucket | None = None,
        count: Callable[[str, str, int], None] = lambda _verb, _kind, _code: None,
        fence: Fence = _no_fence,
    ) -> None:
        self.configuration = configuration
        self._rest = Rest(configuration, self._check)
        self._base = str(configuration.host).rstrip("/")
        self._bucket = bucket or TokenBucket(100_000, 100_000)
        self._count = count
        self.fence = fence
        self._turns = asyncio.Semaphore(AT_ONCE)
        self.clock = ServerClock()
        """Set by every answer."""

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
        """Yield a listing page by page, with the resourceVersion of the listing as a whole.

        A page that is larger than PAGE_BYTES is given up and asked for anew with fewer objects: who may make a hundred of a megabyte each
        must not have them in memory all at once.
        """
        query = {"limit": str(resource.page), "labelSelector": labels, "fieldSelector": fields}
        path = resource.path(namespace)
        while True:
            most = PAGE_BYTES if int(query["limit"]) > 1 else math.inf
            try:
                page = await self._page(resource, path, {k: v for k, v in query.items() if v}, most)
            except TooLarge:
                query["limit"] = str(max(int(query["limit"]) // 4, 1))
                continue
            query["limit"] = str(min(int(query["limit"]) * 2, resource.page))
            items = page.get("items") or []
            for item in items:  # a listing leaves them out of its items
                item.setdefault("kind", resource.kind)
                item.setdefault("apiVersion", resource.api_version)
            yield items, page["metadata"]["resourceVersion"]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return

    async def _page(self, resource: Resource, path: str, query: Mapping[str, str], most: float) -> dict[str, Any]:
        async with self._turns:
            response = await self._send("list", resource, path, query, timeout=TIMEOUT)
            with contextlib.closing(response), answered(f"list {resource.kind}"):
                answer: dict[str, Any] = read_json(await whole(response, most))
                return answer

    async def watch(
        self, resource: Resource, namespace: str, *, labels: str, since: str, known: Known = nothing_known
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield watch events, bookmarks among them, until the server ends the stream.

        What tells no more of an object than is `known`, as the echo of our own write does, comes as a bookmark: its object is not parsed.
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
        with aborting(response), answered(f"watch {resource.kind}"):
            async for line in lines_of(response.content):
                event = event_of(line, known)
                if event["type"] == "ERROR":
                    raise error_of(int(event["object"].get("code", 500)), event["object"], "watch", resource)
                yield event

    # ---- writes

    async def apply(
        self, resource: Resource, body: Json, *, manager: str, force: bool, subresource: str = ""
    ) -> dict[str, Any]:
        """Server-side apply; returns the object as it is now. A `metadata.uid` in the body must match the live one."""
        meta = body["metadata"]
        path = resource.path(meta.get("namespace", ""), meta["name"], subresource)
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return await self._request("apply", resource, path, query, body=write_yaml(body), content=APPLY)

    async def create(self, resource: Resource, body: Json, *, manager: str, dry_run: bool = False) -> dict[str, Any]:
        """Create an object, or only ask whether one could; raises Conflict when it exists."""
        path = resource.path(body["metadata"].get("namespace", ""))
        query = {"fieldManager": manager} | ({"dryRun": "All"} if dry_run else {})
        return await self._request("create", resource, path, query, body=body)

    async def create_canonical(self, resource: Resource, body: Json, *, manager: str) -> dict[str, Any]:
        """Create an object whose free-form data the API server keeps as text, written by the API server itself.

        What it keeps of JSON is what was sent, to the byte; of YAML, what it makes of it: as it writes JSON after any patch. To a field
        that is immutable as text, another order of the same keys is a change, and then nobody could patch any other field.
        """
        path = resource.path(body["metadata"].get("namespace", ""))
        return await self._request(
            "create", resource, path, {"fieldManager": manager}, body=write_yaml(body), content=YAML
        )

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
        body: Json | bytes | None = None,
        content: str = "application/json",
    ) -> dict[str, Any]:
        text = body if isinstance(body, bytes | None) else write_json(body)
        async with self._turns:
            response = await self._send(verb, resource, path, query or {}, body=text, content=content, timeout=TIMEOUT)
            with contextlib.closing(response), answered(f"{verb} {resource.kind}"):
                answer: dict[str, Any] = read_json(await response.read())
                return answer

    async def _send(
        self,
        verb: str,
        resource: Resource,
        path: str,
        query: Mapping[str, str],
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  -- aiohttp's own, with connect and read parts
        body: bytes | None = None,
        content: str = "application/json",
    ) -> aiohttp.ClientResponse:
        """Send one request and return the response with its body unread; a refusal is raised as a typed error."""
        headers = {"Content-Type": content, "Accept": "application/json", **await self._authorization()}
        if verb not in READS:
            await self._bucket.take()
            if (left := self.fence()) < TIME_LIMIT:
                query, timeout = {**query, "timeout": f"{left:.3f}s"}, aiohttp.ClientTimeout(total=left, sock_connect=5)
        _is_write.set(verb not in READS)
        url = f"{self._base}{path}?{urlencode(query)}" if query else self._base + path
        if verb not in READS and (write := log.name_write()):
            headers[AUDIT_ID] = write
        status = 0
        try:
            with answered(f"{verb} {resource.kind}"):
                response = await self._rest.send(METHODS[verb], url, headers, body, timeout)
                status = response.status
                self.clock.note(response.headers.get("Date"))
                if status >= 400:
                    with contextlib.closing(response):
                        raise error_of(status, refusal_of(await response.read()), verb, resource)
                return response
        finally:
            self._count(verb, resource.kind, status)
            if AUDIT_ID in headers:
                facts = {
                    "verb": verb,
                    "kind": resource.kind,
                    "path": path,
                    "code": status,
                    "auditID": headers[AUDIT_ID],
                }
                logger.log(logging.DEBUG if "dryRun" in query else logging.INFO, "write", extra=facts)

    def _check(self) -> None:
        if _is_write.get():
            self.fence()

    async def _authorization(self) -> dict[str, str]:
        try:
            bearer = (await self.configuration.auth_settings()).get("BearerToken")
        except (OSError, ConfigException) as error:
            raise Unreadable(f"credentials cannot be read: {error}") from error
        return {"Authorization": str(bearer["value"])} if bearer else {}
