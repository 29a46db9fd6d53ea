"""Puts the activator together and leads it through its life; the only module here that knows all the others.

Called by `main.py` for `modelward activator`. One event loop; it must not hold logic of any part.

    admin port up ▶ routes and EndpointSlices listed ▶ ports open ▶ ready ▶ SIGTERM ▶ unready, serving on for `drain` seconds
         ▶ what is held gets a retryable error ▶ no new connections ▶ what pods have ends, within `grace` seconds ▶ exit 0
"""

import asyncio
import logging
import resource
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelward_runtime.activator.admin import App
from modelward_runtime.activator.authority import Authority
from modelward_runtime.activator.config import Route
from modelward_runtime.activator.connection import Crowd
from modelward_runtime.activator.demand import Demand, Line
from modelward_runtime.activator.endpoints import Endpoints, Key, Slice
from modelward_runtime.activator.kube import Api, Watcher
from modelward_runtime.activator.metrics import Metrics
from modelward_runtime.activator.pods import ADMIN_PORT
from modelward_runtime.activator.ports import Ports
from modelward_runtime.activator.probing import Prober
from modelward_runtime.activator.route import ApiPlace, LiveRoute, Surroundings
from modelward_runtime.activator.share import PER_CALL, Common
from modelward_runtime.activator.table import LINGER, ConfigMap, Table
from modelward_runtime.hardware import memory_limit
from modelward_runtime.listen import HttpListener
from modelward_runtime.serve import stop_on_signals

ROUTES: Final = "modelward.dev/activator=routes"
OURS: Final = "app.kubernetes.io/managed-by=modelward"
_PER_HELD: Final = 1 << 18  # bytes: a connection, a buffer of its body, and what its request is in Python
_PER_CONNECTION: Final = 1 << 17  # bytes: fields of HTTP/2 that have begun and not ended
_MOST_HELD: Final = 20_000
_LEAST_CALLS: Final = 64
_DEEPEST: Final = (
    12_000  # of the levels of an object the API server takes 10,000: one of them in a listing must not end us
)
_RETRY: Final = 1.0  # seconds until ports that could not be had are tried again
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What `modelward activator` is given. Durations are in seconds; an empty `host` is every address.

    With `watch_namespaces` it has the right to see EndpointSlices there alone; else everywhere.
    """

    namespace: str
    api: ApiPlace
    ca_directory: Path
    watch_namespaces: tuple[str, ...] = ()
    host: str = ""
    admin_port: int = 8082
    pod_admin_port: int = ADMIN_PORT
    drain: float = 6.0
    grace: float = 20.0


async def run(settings: Settings) -> int:
    """Live until drained; the exit code."""
    stop = stop_on_signals()
    _raise_limit_of_files()
    sys.setrecursionlimit(_DEEPEST)
    await Activator(settings).live(stop)
    return 0


class _Slices:
    """The sink of one namespace's EndpointSlices, or of all: notes which Services changed."""

    def __init__(self, endpoints: Endpoints, namespace: str, touched: set[Key]) -> None:
        self._endpoints = endpoints
        self._namespace = namespace
        self._touched = touched

    def reset(self, objects: Iterable[Slice]) -> None:
        """These, and no others."""
        self._touched |= self._endpoints.reset(objects, self._namespace)

    def put(self, one: Slice) -> None:
        """One came or changed."""
        self._touched |= self._endpoints.put(one)

    def drop(self, one: Slice) -> None:
        """One went."""
        self._touched |= self._endpoints.drop(one)


class Activator:
    """The parts of one process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._draining = False
        self._metrics = Metrics()
        self._live: dict[Key, LiveRoute] = {}
        self._unusable: dict[Key, Route] = {}
        self._missing = 0
        self._is_open_once = False
        self._changed = asyncio.Event()
        self._demand = Demand(lambda: [live.line for live in self._live.values()])
        memory = memory_limit()
        self._around = Surroundings(
            settings.api,
            Common(max(256, min(_MOST_HELD, memory // 4 // _PER_HELD))),
            Common(max(_LEAST_CALLS * PER_CALL, memory // 4)),
            self._metrics,
            Prober(),
            self._demand.rise,
            lambda: self._draining,
            settings.pod_admin_port,
        )
        self._ports = Ports(settings.host, Authority(settings.ca_directory), self._metrics, _crowd(memory))
        self._endpoints, self._table = Endpoints(), Table(time.monotonic)
        self._touched: set[Key] = set()
        api = Api(settings.api)
        routes_path = f"/api/v1/namespaces/{settings.namespace}/configmaps"
        self._routes_watch = Watcher(api, routes_path, ROUTES, ConfigMap, self._table, self._changed.set, page=4)
        self._slices_watches = [self._watch_slices(api, place) for place in settings.watch_namespaces or ("",)]
        self._admin = HttpListener(App(self._metrics, self._demand, self._obstacle), settings.host, settings.admin_port)
        self._metrics.lines = lambda: [one for one in (live.line for live in self._live.values()) if _is_busy(one)]
        self._metrics.figures = self._figures

    def _watch_slices(self, api: Api, namespace: str) -> Watcher[Slice]:
        within = f"namespaces/{namespace}/" if namespace else ""
        path = f"/apis/discovery.k8s.io/v1/{within}endpointslices"
        sink = _Slices(self._endpoints, namespace, self._touched)
        return Watcher(api, path, OURS, Slice, sink, self._list_pods, page=50)

    async def live(self, stop: asyncio.Event) -> None:
        """From the admin port to the end of the drain."""
        await self._admin.start()
        watching = [self._routes_watch.run(), *(watch.run() for watch in self._slices_watches)]
        tasks = [asyncio.ensure_future(one) for one in (*watching, self._adapt())]
        try:
            stopping = asyncio.ensure_future(stop.wait())
            await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # none of them ends but by a flaw
            await self._drain()
        finally:
            for task in tasks:
                task.cancel()
            await self._admin.stop(1)

    async def _adapt(self) -> None:
        """Follow the table, for ever: also when a route has lingered long enough, and when a port may be free by now."""
        while True:
            self._changed.clear()
            if self._routes_watch.synced:
                await self._follow()
            timeout = _RETRY if self._missing else LINGER
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except TimeoutError:
                continue

    async def _follow(self) -> None:
        wanted = self._table.routes()
        for key in set(self._live) - set(wanted):
            self._live.pop(key).close()
        self._unusable = {key: config for key, config in self._unusable.items() if wanted.get(key) == config}
        for key, config in wanted.items():
            if key not in self._unusable:
                self._take(key, config)
        self._missing = await self._ports.open(self._live.values())
        self._is_open_once = True
        self._demand.open(self._table.in_force(self._is_open))

    def _take(self, key: Key, config: Route) -> None:
        """Have this route. One that its owner wrote so that it cannot be had is no other model's harm."""
        live = self._live.get(key)
        try:
            if live is None:
                live = self._live[key] = LiveRoute(config, self._around)
                live.list_pods(self._endpoints.pods(key))
            elif live.config != config:
                live.change(config)
        except Exception:
            self._unusable[key] = config
            log.exception("a route is not usable", extra={"model": "/".join(key)})

    def _is_open(self, route: Route) -> bool:
        """As open as it will be: who waits for the rest of a ConfigMap does not wait for a route that is not usable."""
        if self._unusable.get(route.key) == route:
            return True
        live = self._live.get(route.key)
        return live is not None and live.config == route and self._ports.is_open(live)

    def _list_pods(self) -> None:
        while self._touched:
            key = self._touched.pop()
            if key in self._live:
                self._live[key].list_pods(self._endpoints.pods(key))

    async def _drain(self) -> None:
        self._draining = True
        held = sum(live.line.held for live in self._live.values())
        log.info("draining", extra={"held": held})
        await asyncio.sleep(self._settings.drain)
        for live in self._live.values():
            live.leave()
        await self._ports.drain(self._settings.grace)
        log.info("drained")

    def _obstacle(self) -> str:
        if self._draining:
            return "draining"
        if not self._is_open_once:
            return "routes are not known yet"
        if not all(watch.synced for watch in self._slices_watches):
            return "EndpointSlices are not known yet"
        return ""

    def _figures(self) -> dict[str, float]:
        return {
            "ready": float(not self._obstacle()),
            "routes": len(self._live),
            "routes_closed": self._missing + len(self._unusable),
            "tables_invalid": self._table.invalid,
            "table_age_seconds": self._routes_watch.age,
            "endpoints_age_seconds": max(watch.age for watch in self._slices_watches),
        }


def _is_busy(line: Line) -> bool:
    return bool(line.held or line.forwarding)


def _raise_limit_of_files() -> None:
    """Each model has two listening sockets, each caller one or two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _crowd(memory: int) -> Crowd:
    """Half of the files for callers, if they fit into the memory with what they may say before they are asked anything.

    Of those, half for the models of one namespace, and an eighth for one model.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(256, min(soft // 2, memory // _PER_CONNECTION))
    return Crowd(most, most // 2, max(128, most // 8))
