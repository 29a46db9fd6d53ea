"""Makes models, changes them and takes them away: the users of every contestant, over 16 connections."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

Json = dict[str, Any]
Name = tuple[str, str]

CONNECTIONS: Final = 16
A_NAMESPACE: Final = 100  # models
USER: Final = "load"
TRIES: Final = 10


def names(prefix: str, count: int) -> list[Name]:
    """Namespace and name of each model."""
    return [(f"{prefix}-{number // A_NAMESPACE:03}", f"m-{number:05}") for number in range(count)]


class Load:
    """One user's requests."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Json:
        """One request; raises with the answer when it is refused."""
        async with self._session.request(
            method, self._url + path, json=body, headers={"Content-Type": content} if body is not None else None
        ) as answer:
            if answer.status == 404 and answer.content_type != "application/json":
                return {}  # a group that is not served yet
            said: Json = await answer.json(content_type=None)
            if answer.status >= 400 and answer.status != 404:
                raise RuntimeError(f"{method} {path}: {answer.status} {said.get('message')}")
            return said

    async def make_namespaces(self, models: Iterable[Name]) -> None:
        for namespace in sorted({namespace for namespace, _ in models}):
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            await self.request("POST", "/api/v1/namespaces", body)

    async def create(self, path: str, bodies: Iterable[Json]) -> None:
        """Make all as fast as the API server lets us; `path` has a place for the namespace."""
        await each(bodies, lambda body: self.request("POST", path.format(body["metadata"]["namespace"]), body))

    async def change(self, path: str, models: Sequence[Name], patch: Callable[[int], Json], rate: float) -> None:
        """Merge-patch one model after another, so many a second, whether or not the last answer is there."""
        begun, under_way = time.monotonic(), set()
        for number, (namespace, name) in enumerate(models):
            await asyncio.sleep(max(begun + number / rate - time.monotonic(), 0))
            at = f"{path.format(namespace)}/{name}"
            task = asyncio.create_task(self.request("PATCH", at, patch(number), "application/merge-patch+json"))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def clear(self, paths: Iterable[str], models: Iterable[Name]) -> None:
        """Take away all objects of these kinds in the models' namespaces: nobody collects garbage here."""
        spaces = sorted({namespace for namespace, _ in models})
        await each([path.format(space) for path in paths for space in spaces], self._empty)

    async def _empty(self, path: str) -> None:
        """A busy API server gives up on a large collection and says so: what is left is asked for again."""
        for attempt in range(TRIES):
            try:
                await self.request("DELETE", f"{path}?gracePeriodSeconds=0")  # no kubelet ends the pods
            except RuntimeError:
                if attempt == TRIES - 1:
                    raise
            else:
                return


async def each(items: Iterable[Any], do: Callable[[Any], Awaitable[Any]]) -> None:
    """Do it for all, so many at once as there are connections."""
    rest = iter(items)

    async def work() -> None:
        for item in rest:
            await do(item)

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


@asynccontextmanager
async def connected(url: str, user: str = USER) -> AsyncIterator[Load]:
    """A user of the API server at `url`, whose token is their name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=context)
    headers = {"Authorization": f"Bearer {user}"}
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout, trust_env=False) as session:
        yield Load(session, url)
