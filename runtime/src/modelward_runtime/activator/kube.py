"""Lists and watches one resource of the Kubernetes API, for ever: the table of routes, and the EndpointSlices.

Run by `run.py`. What was last known holds while the API is away. The protocol is the API's own ("Efficient detection of changes"): a list,
then a watch from the list's resourceVersion with bookmarks; 410 or an ERROR event means to list anew. A watch that says nothing for longer
than bookmarks take to come is cut off, because a connection that died in silence looks just so.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec

from modelward_runtime.access.client import Client
from modelward_runtime.access.identity import Unreachable
from modelward_runtime.activator.route import ApiPlace

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
WATCH_SECONDS: Final = 290  # then the server ends it, and we begin again from where it was
SILENCE: Final = 90.0  # bookmarks come about once a minute
_LIST_SECONDS: Final = 15.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0
_MOST_LINE: Final = 4 << 20
log = logging.getLogger(__name__)


class Gone(Exception):
    """What we knew is too old: list anew."""


class Sink(Protocol[T_contra]):
    """Where objects go. Each call stands for what the API says now."""

    def reset(self, objects: Iterable[T_contra]) -> object:
        """These, and no others."""

    def put(self, one: T_contra) -> object:
        """One came or changed."""

    def drop(self, one: T_contra) -> object:
        """One went."""


class _ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, frozen=True):
    metadata: _ListMeta
    items: list[msgspec.Raw]


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct, frozen=True):
    metadata: _ListMeta


class Api:
    """The API server; the token is read for each request, because the kubelet renews it."""

    def __init__(self, place: ApiPlace) -> None:
        self._client = Client(place.server, place.ca_file, only_ca=True)
        self._token_file: Path = place.token_file

    async def get(self, path: str) -> bytes:
        """A whole answer. Raises `Unreachable`, and `Gone` for 410."""
        answer = await self._client.call("GET", self._headers(), path=path, seconds=_LIST_SECONDS)
        _check(answer.status)
        return answer.body

    async def lines(self, path: str, silence: float) -> AsyncGenerator[bytes, None]:
        """An answer line by line, as they come. Raises as `get` does; ends when the server ends it."""
        rest = b""
        stream = self._client.stream("GET", self._headers(), path=path, silence=silence, check=_check)
        async with aclosing(stream) as parts:
            async for part in parts:
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line
                if len(rest) > _MOST_LINE:
                    raise Unreachable("a line of the watch is too long")

    def _headers(self) -> dict[str, str]:
        try:
            token = self._token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise Unreachable("our own token cannot be read") from None
        return {"authorization": f"Bearer {token}", "accept": "application/json"}


def _check(status: int) -> None:
    if status == 410:
        raise Gone
    if status != 200:
        raise Unreachable(f"the API server answers {status}")


class Watcher(Generic[T]):
    """One resource. `told` hears after each change that the sink has taken; `age` says how long nothing was heard."""

    def __init__(
        self,
        api: Api,
        path: str,
        selector: str,
        kind: type[T],
        sink: Sink[T],
        told: Callable[[], None],
        *,
        page: int,
        silence: float = SILENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._path, self._selector = api, path, selector
        self._decoder = msgspec.json.Decoder(kind)
        self._sink, self._told = sink, told
        self._silence, self._clock = silence, clock
        self._page = page
        self._version = ""
        self._heard = float("-inf")
        self.synced = False

    @property
    def age(self) -> float:
        """Seconds since the API server last said anything, a bookmark included."""
        return self._clock() - self._heard

    async def run(self) -> None:
        """For ever."""
        pause = _FIRST_PAUSE
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                pause = _FIRST_PAUSE
            except Gone:
                self._version = ""
            except (Unreachable, msgspec.DecodeError) as error:
                log.warning("the API cannot be watched", extra={"path": self._path, "cause": str(error)[:300]})
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  no secret
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _list(self) -> None:
        """All objects, page by page."""
        objects: list[T] = []
        page = _ListMeta()
        while True:
            query: dict[str, Any] = {"labelSelector": self._selector, "limit": self._page}
            query |= {"continue": page.continue_} if page.continue_ else {}
            answer = _PAGES.decode(await self._api.get(f"{self._path}?{urlencode(query)}"))
            objects += [self._decoder.decode(item) for item in answer.items]
            page = answer.metadata
            if not page.continue_:
                break
        self._heard, self._version, self.synced = self._clock(), page.resource_version, True
        self._sink.reset(objects)
        self._told()

    async def _watch(self) -> None:
        """Follow changes until the server ends the watch."""
        query = {
            "labelSelector": self._selector,
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": WATCH_SECONDS,
        }
        async with aclosing(self._api.lines(f"{self._path}?{urlencode(query)}", self._silence)) as lines:
            async for line in lines:
                self._heard = self._clock()
                self._take(_EVENTS.decode(line))

    def _take(self, event: _Event) -> None:
        """Raises `Gone` when the server says that it lost the thread."""
        if event.type == "ERROR":
            raise Gone
        if event.type != "BOOKMARK":
            one = self._decoder.decode(event.object)
            if event.type == "DELETED":
                self._sink.drop(one)
            else:
                self._sink.put(one)
        self._version = _VERSIONS.decode(event.object).metadata.resource_version
        if event.type != "BOOKMARK":
            self._told()


_PAGES: Final = msgspec.json.Decoder(_Page)
_EVENTS: Final = msgspec.json.Decoder(_Event)
_VERSIONS: Final = msgspec.json.Decoder(_Bookmark)
